"""What one resource of the daemon does now, and why: for the control socket and the page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quantum_control.core.decision import Decision

if TYPE_CHECKING:
    from quantum_control.daemon.steering import Steering


def status(steering: Steering) -> dict[str, object]:
    """What it does now; JSON."""
    controller = steering.controller
    decision = controller.decisions[-1] if controller is not None and controller.decisions else None
    found: dict[str, object] = {
        "resource": steering.name,
        "kind": steering.section.kind,
        "mode": steering.mode.value,
        "state": _state(steering, decision),
        "size": None if controller is None else controller.size,
        "original": None if controller is None else controller.original,
        "changes": 0 if controller is None else controller.changes,
        "failures": 0 if controller is None else controller.failures,
        "paused": steering.pause.why,
    }
    if decision is not None:
        found |= {
            "wanted": decision.wanted,
            "demand": None if decision.state is None else decision.state.demand,
            "force": decision.force,
            "why": list(decision.reasons),
        }
    granted = steering.granted
    if granted is not None:
        found["granted"] = granted
    if trouble := steering.trouble or steering.unreturned:
        found["trouble"] = trouble
    return found


def explain(steering: Steering) -> dict[str, object]:
    """Say what was seen, wanted and allowed at the last step, and why; JSON."""
    controller = steering.controller
    found = status(steering) | {
        "law": steering.section.physics_model,
        "loss_evidence": round(steering.watch.evidence, 3),
        "roll_backs": steering.watch.roll_backs,
        "set_by_hand": steering.hands.theirs,
    }
    if controller is not None:
        found["bounds"] = [controller.bounds.minimum, controller.bounds.maximum]
        found["decisions"] = [str(decision) for decision in list(controller.decisions)[-5:]]
        figures = {str(name): _figure(value) for name, value in (controller.metrics or {}).items()}
        found["metrics"] = dict(sorted(figures.items()))
    return found


def _figure(value: object) -> str:
    """As an adapter says it, which may be anything, or an integer that no float can hold."""
    return f"{value:.6g}" if isinstance(value, float | bool) else str(value)


def _state(steering: Steering, decision: Decision | None) -> str:
    if steering.trouble:
        return "not begun"
    if steering.pause.why:
        return "paused"
    return "beginning" if decision is None else decision.outcome.value

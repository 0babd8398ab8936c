"""Putting back what a process that is gone has changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from quantum_control.core.errors import ActuatorError, GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.journalled import restore
from quantum_control.core.resource import Resource


class Fate(StrEnum):
    """What became of an original."""

    RESTORED = "restored"
    """It was put back."""
    THERE = "there already"
    """Nothing had to be done."""
    REBOOTED = "machine restarted"
    """The machine has started anew since, so that nothing of what was changed is left."""
    GONE = "gone"
    """It has ended, and what was set with it."""
    FOREIGN = "changed by somebody else"
    """The size is none of ours: it was left as it is."""
    STEERED = "steered now"
    """The process that changed it is alive, and will put it back itself."""
    FAILED = "not restored"
    """It could not be put back and is still in the journal."""


@dataclass(frozen=True, slots=True)
class Recovery:
    """What became of the original of one resource."""

    name: str
    fate: Fate
    detail: str

    def __str__(self) -> str:
        return f"{self.name}: {self.fate}: {self.detail}"


def recover(
    journal: Journal, original: Original, build: Callable[[Original], Resource], *, force: bool = False
) -> Recovery:
    """Put one original back, check that it is in force, and strike it out.

    Does not raise for what the resource does. A second call, or another
    process that does the same at once, does no harm.

    Parameters
    ----------
    build
        Makes the resource anew from `kind` and `options`.
    force
        Also where the size was changed by somebody else since.
    """
    if original.writer.alive:
        return Recovery(original.name, Fate.STEERED, f"by {original.writer}; stop it first")
    if not original.writer.this_boot and not original.outlives_boot:
        return _struck(journal, original, Fate.REBOOTED, "what was changed is gone with that")
    # The resource is not released in the end: many put back then what they found, which here is what
    # the dead process had set.
    try:
        resource = build(original)
        if hasattr(resource, "steers_while_measuring"):
            resource.steers_while_measuring = False
        found = resource.measure_state().size
        if original.snapshot is None and found == found and round(found) == original.size:
            return _struck(journal, original, Fate.THERE, f"size {original.size}")
        if not force and found == found and not original.left_by_us(found):
            low, high = original.ours or (original.size, original.size)
            detail = f"size {found:g} is left as it is; ours were {low} to {high}"
            return _struck(journal, original, Fate.FOREIGN, detail)
        restore(original, resource)
        # A whole setting is read back by whoever restores it, and may have been let go of with that. A size
        # that takes its time is on its way; one that has not moved at all was not taken.
        if original.snapshot is None:
            now = resource.measure_state().size
            if found == now and round(now) != original.size:
                detail = f"size {now:g} is in force, not {original.size} as ordered"
                return Recovery(original.name, Fate.FAILED, detail)
    except Exception as error:  # noqa: BLE001 - an adapter may fail in any way; the original stays in the journal
        for gone in (error, error.__cause__):  # `restore` says what it was doing around it
            if isinstance(gone, GoneError):
                return _struck(journal, original, Fate.GONE, str(gone))
        return Recovery(original.name, Fate.FAILED, f"{type(error).__name__}: {error}")
    detail = f"size {found:g} -> {original.size}"
    if original.snapshot is not None:
        detail = f"the whole setting; {detail}" if found == found else "the whole setting"
    return _struck(journal, original, Fate.RESTORED, detail)


def _struck(journal: Journal, original: Original, fate: Fate, detail: str) -> Recovery:
    try:
        journal.forget(original)
    except ActuatorError as error:
        detail = f"{detail}; {error}"
    return Recovery(original.name, fate, detail)

"""The page of each type of resource."""

from __future__ import annotations

from quantum_control.monitoring.panels import (
    FORCE,
    INTERVENTIONS,
    OUTCOMES,
    ROLL_BACKS,
    SAVING,
    SKILL,
    STEP,
    Page,
    Panel,
    curve,
)


def _rows(work: tuple[Panel, ...]) -> tuple[tuple[str, tuple[Panel, ...]], ...]:
    return (
        (
            "Size",
            (
                Panel(
                    "Size and demand",
                    "Demand is what is in use and waits; wanted is what the law asked for before the guard.",
                    "short",
                    (
                        curve("size", "size"),
                        curve("size_wanted", "wanted"),
                        curve("demand", "demand"),
                        curve("size_original", "found"),
                    ),
                    width=16,
                ),
                Panel(
                    "Backlog and flow",
                    "What will wait when the next size acts, and new demand per interval.",
                    "short",
                    (curve("backlog", "backlog"), curve("flow", "flow")),
                    width=8,
                ),
            ),
        ),
        ("Work", work),
        (
            "Law",
            (
                Panel(
                    "Position and where it is to rest",
                    "Demand over size, less one: negative is slack.",
                    "short",
                    (curve("position", "position"), curve("setpoint", "setpoint")),
                ),
                FORCE,
                Panel(
                    "Velocity",
                    "Rate of change of the position, per second.",
                    "short",
                    (curve("velocity_per_second", ""),),
                ),
                Panel(
                    "Temperature",
                    "Noise of the flow; 1 is Poisson's.",
                    "short",
                    (curve("temperature", ""),),
                ),
                OUTCOMES,
                INTERVENTIONS,
                ROLL_BACKS,
                STEP,
                SAVING,
                SKILL,
                Panel(
                    "Error of predictions",
                    "Mean, over the size.",
                    "percentunit",
                    (curve("model_error", ""),),
                ),
            ),
        ),
    )


def _rates(*names: str) -> Panel:
    """Show what is counted per second."""
    told = {"throughput": "done", "errors": "failed", "drops": "turned away"}
    queries = tuple(curve(f"{name}_per_second", told[name]) for name in names)
    return Panel("Work per second", ", ".join(told[name] for name in names) + ".", "ops", queries)


def _seconds(text: str, *names: str) -> Panel:
    queries = tuple(curve(f"{name}_seconds", name) for name in names)
    return Panel("Times", text, "s", queries)


def _own(title: str, text: str, unit: str, *figures: str) -> Panel:
    """Show what the adapter measures besides."""
    chosen = f'figure=~"{"|".join(figures)}"'
    return Panel(title, text, unit, (curve("figure", "{{figure}}", chosen),))


KINDS: dict[str, Page] = {
    kind: Page(
        f"quantum-control-{kind}",
        f"quantum_control: {title}",
        text,
        _rows(panels),
        types=types,
    )
    for kind, types, title, text, panels in (
        (
            "threads",
            ("ThreadPoolResource", "threads", "GunicornResource", "gunicorn"),
            "thread pools and workers",
            "Threads, or the workers of a gunicorn, what waits for them, and for how long.",
            (
                _rates("throughput", "errors"),
                _seconds("Mean wait for a thread, and mean time of a task.", "wait", "service"),
                _own(
                    "Threads or workers",
                    "Busy, there, and tasks or connections in line.",
                    "short",
                    "busy",
                    "threads",
                    "workers",
                    "queue_depth",
                ),
            ),
        ),
        (
            "connections",
            ("ConnectionPoolResource", "connections"),
            "connection pools",
            "Connections, clients in line, and how long they wait.",
            (
                _rates("throughput", "errors", "drops"),
                _seconds("Mean wait for a connection, and mean time in use.", "wait", "service"),
                _own(
                    "Connections",
                    "In use, open, and clients in line.",
                    "short",
                    "busy",
                    "held",
                    "queue_depth",
                ),
            ),
        ),
        (
            "loadbalancer",
            ("LoadBalancerResource", "loadbalancer"),
            "load balancers",
            "Back ends, their weights and how they answer.",
            (
                _rates("throughput", "errors"),
                _own(
                    "Latency", "Mean in the back ends, in all and of each.", "s", r"latency_seconds(\\..+)?"
                ),
                _own("Weights", "In force, of each back end.", "short", r"weight\\..+"),
                _own("Back ends", "In use, and drained as sick.", "short", "members", "ejected", "foreign"),
            ),
        ),
        (
            "buffer",
            ("BufferResource", "buffer"),
            "buffers",
            "Queue limits and socket buffers: what is queued, lost and how long it takes to drain.",
            (
                _rates("drops"),
                _seconds("Mean time in the queue.", "wait"),
                _own("Draining", "Per second, in the unit of the limit.", "short", "sent", "drain_rate"),
                _own("Waiting", "In the queue, in the unit of the limit.", "short", "queue_depth"),
                _own("Bytes", "What connections need and hold.", "bytes", "needed_bytes", "held_bytes"),
            ),
        ),
        (
            "memory",
            ("MemoryResource", "memory"),
            "memory",
            "Heaps and cgroups: what lives, what it costs to collect or to fetch again.",
            (
                _own(
                    "Bytes",
                    "Of a JVM: live, used, committed; of a cgroup: used, and the least it needs.",
                    "bytes",
                    "live_bytes",
                    "used_bytes",
                    "committed_bytes",
                    "usage_bytes",
                    "floor_bytes",
                ),
                _own("Allocation", "Bytes per second.", "Bps", "allocation_bytes_per_second"),
                _own("Collector", "Processor cores that collecting takes.", "short", "gc_cores"),
                _own(
                    "Standing still",
                    "Share of the time, for the collector or for memory.",
                    "percentunit",
                    "pause_share",
                    "stalled_ratio",
                ),
            ),
        ),
    )
}
"""The dashboard of each type of resource, and of others that have the same figures."""

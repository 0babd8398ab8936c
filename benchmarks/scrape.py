"""What a scrape of a thousand resources takes: `python benchmarks/scrape.py`."""

from __future__ import annotations

import statistics
import time

from prometheus_client import CollectorRegistry, generate_latest

from quantum_control import QuantumController, Resource, ResourceState
from quantum_control.monitoring.prometheus import ControllerCollector

RESOURCES = 1000
REPEATS = 20


class Still(Resource):
    """Its demand never moves."""

    max_size = 100

    def measure_state(self) -> ResourceState:
        """Return the same as ever."""
        return ResourceState.from_demand(8.0, size=10)

    def apply_control(self, new_size: int) -> None:
        """Do nothing."""

    def get_metrics(self) -> dict[str, float]:
        """Return what a pool of threads would."""
        told = {"throughput": 100.0, "errors": 0.0, "wait_seconds": 0.01, "service_seconds": 0.05}
        return told | {"busy": 5.0, "threads": 10.0, "queue_depth": 3.0}


def main() -> None:
    """Time our page beside the official client's, which is the same to the byte."""
    collector = ControllerCollector()
    now = 0.0
    controllers = [QuantumController(Still(), clock=lambda: now) for _ in range(RESOURCES)]
    for _ in range(3):
        now += 1.0
        for controller in controllers:
            controller.optimize()
    for number, controller in enumerate(controllers):
        collector.add(controller, f"pool-{number}")
    registry = CollectorRegistry()
    registry.register(collector)
    assert collector.exposition() == generate_latest(registry)
    for title, page in (
        ("ours", collector.exposition),
        ("generate_latest", lambda: generate_latest(registry)),
    ):
        seconds = []
        for _ in range(REPEATS):
            began = time.process_time()
            size = len(page())
            seconds.append(time.process_time() - began)
        print(
            f"{title}: {RESOURCES} resources, {size / 1e6:.1f} MB, processor time: median"
            f" {statistics.median(seconds) * 1e3:.0f} ms, worst of {REPEATS} {max(seconds) * 1e3:.0f} ms"
        )


if __name__ == "__main__":
    main()

"""A pool with only the three methods, sampled at uneven times, and the loop around it."""

from collections import deque

from quantum_control import QuantumController, Resource, ResourceState


class FluidPool(Resource):
    """Work like water: a unit of size serves a unit of work per interval; orders act after `delay` samples.

    `demand` is called with the number of the sample and the backlog, and
    answers with the work that arrives per interval.
    """

    def __init__(self, demand, size, *, delay=0, interval=1.0, gaps=None, max_size=None):
        self.demand = demand
        self.size = size
        self.max_size = max_size
        self.interval = interval
        self.time = 0.0
        self.backlog = 0.0
        self._gaps = gaps  # time between samples in intervals, by the number of the sample
        self._orders = deque([size] * delay)
        self._sample = 0

    def clock(self):
        return self.time

    def measure_state(self):
        return ResourceState(self._load / self._in_force - 1.0, size=self._in_force)

    def apply_control(self, new_size):
        self.size = new_size

    def get_metrics(self):
        return {}

    def elapse(self):
        """Let time pass until the next sample."""
        gap = self._gaps(self._sample) if self._gaps else 1.0
        self._orders.append(self.size)
        self._in_force = size = self._orders.popleft()
        work = self.backlog + gap * self.demand(self._sample, self.backlog)
        self.backlog = max(0.0, work - gap * size)
        # In use, averaged over the gap, and waiting at its end.
        self._load = min(work / gap, size) + self.backlog
        self.time += gap * self.interval
        self._sample += 1


def steer(pool, law, samples, *, auto_tune=False, guard=None):
    """Sizes that the controller ordered, one a sample."""
    controller = QuantumController(
        resource=pool,
        physics_model=law,
        auto_tune=auto_tune,
        interval=pool.interval,
        clock=pool.clock,
        guard=guard,
    )
    sizes = []
    for _ in range(samples):
        pool.elapse()
        decision = controller.optimize()
        assert decision.outcome not in ("failed", "suspended"), decision.reasons
        sizes.append(decision.allowed)
    return sizes, controller

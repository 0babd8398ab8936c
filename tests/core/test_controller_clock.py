"""What the clock and other threads do to steps of the loop."""

import threading
from math import inf, nan

import pytest
from doubles import Clock, Pool, Pushes, controlled

from quantum_control import GuardSettings, Outcome, QuantumController, ResourceState


@pytest.mark.parametrize("now", [100.0, 101.0, 50.0, nan, inf, -inf])
def test_while_the_clock_does_not_advance_nothing_is_done(now: float) -> None:
    clock, pool = Clock(100.0), Pool()
    controller = QuantumController(pool, Pushes(0.0, 1.0), clock=clock)
    clock.now = 101.0
    controller.optimize()
    clock.now = now
    decision = controller.optimize()
    assert (decision.outcome, decision.reasons) == (Outcome.HELD, ("the clock did not advance",))
    assert (decision.state, decision.allowed) == (None, 10)
    assert pool.applied == []
    assert controller.failures == 0


@pytest.mark.parametrize("now", [-1e6, 0.0, 101.5, 1e12, nan, inf])
def test_a_clock_that_leaps_is_lived_with(now: float) -> None:
    clock, pool = Clock(100.0), Pool(10, 8.0)
    controller = QuantumController(pool, clock=clock)
    for _ in range(30):
        clock.tick()
        controller.optimize()
    size = pool.size
    clock.now = now
    controller.optimize()
    clock.now = now if -inf < now < inf else 131.0
    for _ in range(30):
        clock.tick()
        controller.optimize()
    assert controller.failures == 0
    assert pool.size == size
    assert controller.decisions[-1].state is not None


def test_the_slew_limit_is_a_rate_for_whoever_steps_faster_than_the_interval() -> None:
    pool = Pool(1000)
    _, step = controlled(pool, Pushes(inf), guard=GuardSettings(slew_up=2.0))
    step()
    before = pool.size
    for _ in range(10):
        step(0.1)
    assert pool.size == pytest.approx(2 * before, rel=0.01)


# ---- several threads ----------------------------------------------------------------------------


def test_steps_taken_by_hand_and_by_the_loop_do_not_mix() -> None:
    class Watched(Pool):
        inside = 0
        overlaps = 0

        def measure_state(self) -> ResourceState:
            Watched.inside += 1
            Watched.overlaps += Watched.inside > 1
            state = super().measure_state()
            threading.Event().wait(0.0005)
            Watched.inside -= 1
            return state

    controller = QuantumController(Watched(), interval=0.001)

    def by_hand() -> None:
        for _ in range(40):
            controller.optimize()

    crowd = [threading.Thread(target=by_hand) for _ in range(4)]
    with controller:
        for each in crowd:
            each.start()
        for each in crowd:
            each.join()
    assert Watched.overlaps == 0
    assert controller.steps >= 160
    assert controller.failures == 0

import asyncio
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control import LifecycleError
from quantum_control.core.runner import Runner, Schedule

LONG = 30.0
"""Seconds: more than any of this takes."""
NEVER = 1e6
"""Seconds between steps where there is to be no second one."""


# ---- when the next step is due ------------------------------------------------------------------


def test_steps_are_due_on_a_fixed_grid() -> None:
    schedule = Schedule(1.0, start=100.0)
    assert schedule.remaining(100.25) == 0.75
    assert schedule.remaining(101.5) == 0.5
    assert schedule.remaining(102.0) == 1.0


def test_missed_deadlines_are_skipped_not_made_up_for() -> None:
    schedule = Schedule(1.0, start=100.0)
    assert schedule.remaining(105.25) == 0.75
    assert schedule.remaining(106.0) == 1.0


@given(st.floats(1e-3, 100.0), st.lists(st.floats(0.0, 1000.0), max_size=50))
def test_the_wait_is_never_longer_than_an_interval(interval: float, works: list[float]) -> None:
    now = 1000.0
    schedule = Schedule(interval, now)
    for work in works:
        now += work
        wait = schedule.remaining(now)
        assert -1e-9 <= wait <= interval * (1.0 + 1e-9)
        now += wait


# ---- on a thread --------------------------------------------------------------------------------


class Steps:
    """Counts its calls, and does what it is told in each."""

    def __init__(self, then: Callable[[], object] = lambda: None) -> None:
        self.count = 0
        self.threads: set[threading.Thread] = set()
        self.taken = threading.Event()
        self.restored = threading.Event()
        self._then = then

    def __call__(self) -> None:
        self.count += 1
        self.threads.add(threading.current_thread())
        self._then()
        self.taken.set()

    def runner(self, interval: float = NEVER) -> Runner[None]:
        return Runner(self, self.restored.set, interval, "steps")


def test_the_first_step_is_taken_at_once_on_a_thread_of_its_own() -> None:
    steps = Steps()
    runner = steps.runner()
    runner.start()
    assert steps.taken.wait(LONG)
    runner.stop(restore=False)
    assert steps.count == 1
    (thread,) = steps.threads
    assert thread is not threading.current_thread()
    assert (thread.name, thread.daemon, thread.is_alive()) == ("steps", True, False)
    assert not steps.restored.is_set()


def test_steps_go_on_until_it_is_stopped() -> None:
    several = threading.Event()
    steps = Steps(lambda: steps.count >= 5 and several.set())
    runner = steps.runner(0.001)
    runner.start()
    assert several.wait(LONG)
    assert runner.running
    runner.stop(restore=False)
    assert not runner.running
    (thread,) = steps.threads
    assert not thread.is_alive()


def test_starting_twice_is_an_error_and_the_first_run_goes_on() -> None:
    steps = Steps()
    runner = steps.runner()
    runner.start()
    with pytest.raises(LifecycleError, match=r"steps is running already; stop\(\) it first"):
        runner.start()
    with pytest.raises(LifecycleError):
        asyncio.run(runner.run())
    assert runner.running
    runner.stop(restore=False)


def test_many_starters_at_once_make_one_run() -> None:
    steps = Steps()
    runner = steps.runner()
    ready = threading.Barrier(8)
    outcomes: list[str] = []

    def start() -> None:
        ready.wait(LONG)
        try:
            runner.start()
            outcomes.append("started")
        except LifecycleError:
            outcomes.append("refused")

    crowd = [threading.Thread(target=start) for _ in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join(LONG)
    runner.stop(restore=False)
    assert sorted(outcomes) == ["refused"] * 7 + ["started"]
    assert len(steps.threads) <= 1


def test_stopping_what_does_not_run_does_nothing() -> None:
    runner = Steps().runner()
    runner.stop(restore=False)
    runner.stop(restore=False)
    assert not runner.running


def test_it_can_be_started_again_after_a_stop() -> None:
    steps = Steps()
    runner = steps.runner()
    for run in (1, 2, 3):
        steps.taken.clear()
        runner.start()
        assert steps.taken.wait(LONG)
        runner.stop(restore=False)
        assert steps.count == run


def test_stop_waits_for_the_step_under_way() -> None:
    inside, release = threading.Event(), threading.Event()

    def linger() -> None:
        inside.set()
        assert release.wait(LONG)

    steps = Steps(linger)
    runner = steps.runner()
    runner.start()
    assert inside.wait(LONG)
    stopper = threading.Thread(target=runner.stop, kwargs={"restore": False})
    stopper.start()
    assert stopper.is_alive()
    assert not steps.taken.is_set()
    release.set()
    stopper.join(LONG)
    assert not stopper.is_alive()
    assert steps.taken.is_set()
    assert steps.count == 1


def test_a_step_may_stop_its_own_run() -> None:
    steps = Steps(lambda: runner.stop(restore=False))
    runner = steps.runner(0.001)
    runner.start()
    assert steps.taken.wait(LONG)
    (thread,) = steps.threads
    thread.join(LONG)
    assert not thread.is_alive()
    assert not runner.running
    assert steps.count == 1
    assert not steps.restored.is_set()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_loop_that_dies_says_so_and_can_be_started_again() -> None:
    def die() -> None:
        raise SystemExit

    steps = Steps(die)
    runner = steps.runner()
    runner.start()
    assert steps.restored.wait(LONG)
    for thread in steps.threads:
        thread.join(LONG)
    assert not runner.running
    runner.stop(restore=False)
    runner.start()
    runner.stop(restore=False)


# ---- in an event loop ---------------------------------------------------------------------------


def test_steps_are_taken_in_the_event_loop_and_stop_wakes_it() -> None:
    async def main() -> None:
        steps = Steps()
        runner = steps.runner()
        task = asyncio.create_task(runner.run())
        while not steps.taken.is_set():
            await asyncio.sleep(0)
        assert runner.running
        assert steps.threads == {threading.current_thread()}
        runner.stop(restore=False)
        await asyncio.wait_for(task, LONG)
        assert not runner.running
        assert steps.count == 1
        assert not steps.restored.is_set()

    asyncio.run(main())


def test_stop_from_another_thread_ends_it() -> None:
    async def main() -> None:
        steps = Steps()
        runner = steps.runner()
        task = asyncio.create_task(runner.run())
        while not steps.taken.is_set():
            await asyncio.sleep(0)
        await asyncio.to_thread(runner.stop, restore=False)
        await asyncio.wait_for(task, LONG)
        assert steps.count == 1

    asyncio.run(main())


def test_other_tasks_run_between_the_steps() -> None:
    async def main() -> None:
        steps = Steps()
        runner = steps.runner(0.001)
        task = asyncio.create_task(runner.run())
        while steps.count < 5:
            await asyncio.sleep(0)
        runner.stop(restore=False)
        await asyncio.wait_for(task, LONG)

    asyncio.run(main())


def test_cancelling_it_is_abandoning_it() -> None:
    async def main() -> None:
        steps = Steps()
        runner = steps.runner()
        task = asyncio.create_task(runner.run())
        while not steps.taken.is_set():
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert steps.restored.is_set()
        assert not runner.running

    asyncio.run(main())


def test_stopping_it_after_its_event_loop_was_closed_under_it_is_harmless() -> None:
    steps = Steps()
    runner = steps.runner()
    loop = asyncio.new_event_loop()
    left = runner.run()  # held, so that nothing closes it before the end of this test

    async def main() -> None:
        task = asyncio.ensure_future(asyncio.sleep(0))
        left.send(None)  # its first step, up to where it waits for the next
        await task

    loop.run_until_complete(main())
    loop.close()
    runner.stop(restore=False)
    assert not runner.running
    left.close()

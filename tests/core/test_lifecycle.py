"""Starting, stopping, and what is left of the resource afterwards."""

import asyncio
import gc
import threading
import weakref

import pytest
from doubles import Pushes
from watched import GROW, LONG, NEVER, Watched, growing

from quantum_control import ActuatorError, LifecycleError, Outcome, QuantumController, ResourceState

# ---- on a thread -----------------------------------------------------------------------------------


def test_start_takes_the_first_step_at_once_on_a_thread_of_its_own() -> None:
    pool, controller = growing()
    controller.start()
    assert controller.running
    assert pool.changed.wait(LONG)
    controller.stop()
    assert not controller.running
    assert controller.steps == 1
    assert threading.current_thread() not in pool.threads
    assert not any(thread.is_alive() for thread in pool.threads)


def test_it_goes_on_taking_steps() -> None:
    pool, controller = growing(0.001)
    several = threading.Event()
    pool.in_measuring = lambda: controller.steps >= 5 and several.set()
    controller.start()
    assert several.wait(LONG)
    controller.stop()
    assert controller.steps >= 5


def test_starting_twice_is_refused_and_disturbs_nothing() -> None:
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    with pytest.raises(LifecycleError, match=r"quantum_control\(Watched\) is running already"):
        controller.start()
    with pytest.raises(LifecycleError):
        asyncio.run(controller.run())
    assert controller.running
    assert pool.size == 20
    controller.stop()


def test_stop_restores_the_original_size() -> None:
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    assert pool.size == 20
    controller.stop()
    assert (pool.size, controller.size) == (10, 10)


def test_stop_keeps_the_last_size_if_told_to() -> None:
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    controller.stop(restore=False)
    assert (pool.size, controller.size) == (20, 20)
    controller.stop()
    assert pool.size == 10


def test_stop_may_come_any_number_of_times_and_before_start() -> None:
    pool, controller = growing()
    controller.stop()
    controller.stop(restore=False)
    assert pool.applied == []
    controller.start()
    assert pool.changed.wait(LONG)
    for _ in range(3):
        controller.stop()
    assert pool.applied == [20, 10]


def test_it_can_be_started_again() -> None:
    pool, controller = growing(NEVER, GROW / NEVER)
    for run in (1, 2, 3):
        pool.changed.clear()
        controller.start()
        assert pool.changed.wait(LONG)
        assert pool.size > 10
        controller.stop()
        assert pool.size == 10
        assert controller.steps == run


def test_stop_also_undoes_steps_that_were_taken_by_hand() -> None:
    pool, controller = growing()
    controller.optimize()
    assert pool.size == 20
    controller.stop()
    assert pool.size == 10


def test_many_may_stop_at_once() -> None:
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    crowd = [threading.Thread(target=controller.stop) for _ in range(8)]
    for each in crowd:
        each.start()
    for each in crowd:
        each.join(LONG)
    assert not any(each.is_alive() for each in crowd)
    assert pool.applied == [20, 10]


def test_stop_waits_for_the_step_under_way_and_then_restores() -> None:
    pool, controller = growing()
    inside, release = threading.Event(), threading.Event()

    def linger() -> None:
        inside.set()
        assert release.wait(LONG)

    pool.in_measuring = linger
    controller.start()
    assert inside.wait(LONG)
    stopper = threading.Thread(target=controller.stop)
    stopper.start()
    assert pool.applied == []
    release.set()
    stopper.join(LONG)
    assert not stopper.is_alive()
    assert pool.applied == [20, 10]


def test_however_stop_meets_a_step_the_original_is_in_force_after_it() -> None:
    pool, controller = growing(1e-4, 1e6, -1e6, 1e6)  # a change at every step
    for _ in range(200):
        pool.changed.clear()
        controller.start()
        assert pool.changed.wait(LONG)
        controller.stop()
        assert pool.size == 10
    assert controller.changes >= 200


def test_a_step_after_stop_may_be_taken_by_hand() -> None:
    _, controller = growing()
    controller.start()
    controller.stop()
    assert controller.optimize().outcome in (Outcome.HELD, Outcome.CHANGED)


# ---- stopped from inside a step ----------------------------------------------------------------------


@pytest.mark.parametrize("where", ["in_measuring", "in_applying"])
@pytest.mark.parametrize(("restore", "sizes"), [(True, [10]), (False, [10, 20])])
def test_a_resource_may_stop_its_controller_from_the_loops_own_thread(
    where: str, restore: bool, sizes: list[int]
) -> None:
    pool, controller = growing()
    setattr(pool, where, lambda: controller.stop(restore=restore))
    controller.start()
    assert pool.measured.wait(LONG)
    pool.join()
    assert not controller.running
    assert controller.steps == 1
    assert pool.size in sizes
    if where == "in_measuring":
        assert pool.applied == []
        assert controller.decisions[-1].reasons == ("stop() was called",)


def test_a_law_may_stop_its_controller() -> None:
    class Enough(Pushes):
        def calculate_force(self, state: ResourceState) -> float:
            controller.stop()
            return GROW

    pool = Watched(10)
    controller = QuantumController(pool, Enough(), interval=NEVER)
    decision = controller.optimize()
    assert (decision.outcome, decision.allowed, decision.reasons) == (
        Outcome.HELD,
        10,
        ("stop() was called",),
    )


def test_stopping_from_a_step_by_hand_while_the_loop_waits_for_its_turn_does_not_lock_up() -> None:
    pool, controller = growing(0.001)
    by_hand = threading.Event()

    def stop_if_by_hand() -> None:
        if by_hand.is_set() and threading.current_thread() is main:
            controller.stop()

    main = threading.current_thread()
    pool.in_measuring = stop_if_by_hand
    controller.start()
    assert pool.changed.wait(LONG)
    by_hand.set()
    controller.optimize()
    assert not controller.running
    assert pool.size == 10


def test_a_restore_that_fails_after_a_stop_from_inside_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    pool, controller = growing()
    controller.optimize()
    pool.broken_applying = OSError("read-only")
    pool.in_measuring = controller.stop
    pool.measured.clear()
    controller.start()
    assert pool.measured.wait(LONG)
    pool.join()
    assert "original size 10 could not be restored" in caplog.text
    assert not controller.running


# ---- failures of the loop and of the restore ---------------------------------------------------------


def test_a_resource_that_raises_does_not_end_the_loop() -> None:
    pool, controller = growing(0.001)
    failed = threading.Event()
    pool.in_measuring = lambda: controller.failures >= 20 and failed.set()
    pool.broken_measuring = RuntimeError("gone")
    controller.start()
    assert failed.wait(LONG)
    assert controller.running
    controller.stop()
    assert controller.suspended


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, GeneratorExit])
def test_a_loop_that_is_killed_restores_the_original(kind: type[BaseException]) -> None:
    pool, controller = growing(0.001)
    controller.optimize()
    assert pool.size == 20
    pool.broken_measuring = kind()
    pool.changed.clear()
    controller.start()
    assert pool.changed.wait(LONG)
    pool.join()
    assert pool.size == 10
    assert not controller.running
    pool.broken_measuring = None
    controller.start()
    controller.stop()


def test_a_restore_that_fails_is_told_to_who_stops_and_tried_again() -> None:
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    pool.broken_applying = OSError("read-only")
    with pytest.raises(ActuatorError, match=r"original size 10 could not be restored \(now 20\): read-only"):
        controller.stop()
    assert not controller.running
    pool.broken_applying = None
    controller.stop()
    assert pool.size == 10


# ---- as a context manager ----------------------------------------------------------------------------


def test_with_starts_and_stops() -> None:
    pool, controller = growing()
    with controller as entered:
        assert entered is controller
        assert controller.running
        assert pool.changed.wait(LONG)
    assert not controller.running
    assert pool.size == 10


def test_with_restores_also_when_the_body_raises() -> None:
    pool, controller = growing()

    def body() -> None:
        with controller:
            assert pool.changed.wait(LONG)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        body()
    assert not controller.running
    assert pool.size == 10


def test_a_restore_that_fails_does_not_hide_what_the_body_raised() -> None:
    pool, controller = growing()

    def body() -> None:
        with controller:
            assert pool.changed.wait(LONG)
            pool.broken_applying = OSError("read-only")
            raise ZeroDivisionError

    with pytest.raises(ActuatorError) as info:
        body()
    assert isinstance(info.value.__cause__, OSError)
    chain, error = [], info.value.__context__
    while error is not None:
        chain.append(type(error))
        error = error.__context__
    assert ZeroDivisionError in chain


def test_with_may_stop_early() -> None:
    pool, controller = growing()
    with controller:
        assert pool.changed.wait(LONG)
        controller.stop(restore=False)
        assert pool.size == 20
    assert pool.size == 10


# ---- memory --------------------------------------------------------------------------------------------


def test_a_running_controller_is_kept_alive_by_its_thread() -> None:
    _, controller = growing()
    known = weakref.ref(controller)
    controller.start()
    del controller
    gc.collect()
    alive = known()
    assert alive is not None
    alive.stop()


def test_a_controller_that_was_stopped_can_be_collected() -> None:
    pool, controller = growing()
    with controller:
        assert pool.changed.wait(LONG)
    known = weakref.ref(controller)
    del controller
    gc.collect()
    assert known() is None

"""A resource, or a law, that fails: counted, left alone, given back, taken up again."""

import logging
from collections.abc import Callable
from math import inf, log, nan
from typing import Any

import pytest
from doubles import Pool, Pushes, controlled

from quantum_control import ActuatorError, Outcome, QuantumController, ResourceState, SensorError
from quantum_control.core.chain import Pause
from quantum_control.core.decision import Decision

Step = Callable[..., Decision]

GROW = log(2.0)
N = 3
"""Failures in a row that are too many."""


def grown(**settings: Any) -> tuple[Pool, QuantumController, Step]:
    """A pool that has grown from 10 to 20, and wants to be kept there."""
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW, 0.0), max_failures=N, **settings)
    step()
    assert pool.size == 20
    return pool, controller, step


METHODS = ["broken_measuring", "broken_metrics"]

# ---- one failure ---------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "error", [RuntimeError("gone"), SensorError("gone"), KeyError("gone"), OSError("gone")]
)
def test_a_failed_measurement_is_counted_and_freezes_the_size(method: str, error: Exception) -> None:
    pool, controller, step = grown()
    setattr(pool, method, error)
    decision = step()
    assert decision.outcome is Outcome.FAILED
    assert decision.reasons == (f"measuring: {type(error).__name__}: {error}",)
    assert (decision.state, decision.force, decision.wanted, decision.allowed) == (None, 0.0, 20, 20)
    assert (controller.failures, controller.size, pool.applied) == (1, 20, [20])


@pytest.mark.parametrize(
    ("position", "size", "message"),
    [
        (nan, 20.0, "measured position is nan"),
        (inf, 20.0, "measured position is inf"),
        (-1.5, 20.0, "measured position is -1.5"),
        (0.0, 0.0, "measured size is 0.0"),
        (0.0, -5.0, "measured size is -5.0"),
        (0.0, inf, "measured size is inf"),
        ("much", 20.0, "ValueError"),
        (None, 20.0, "TypeError"),
    ],
)
def test_an_impossible_measurement_is_a_failed_one(position: Any, size: float, message: str) -> None:
    pool, controller, step = grown()
    pool.measure_state = lambda: ResourceState(position, size=size)  # type: ignore[method-assign]
    decision = step()
    assert decision.outcome is Outcome.FAILED
    assert message in decision.reasons[0]
    assert (controller.failures, pool.applied) == (1, [20])


def test_an_impossible_measurement_does_not_enter_the_estimate() -> None:
    pool, controller, step = grown()
    before = controller.history[-1]
    pool.measure_state = lambda: ResourceState(nan, size=20.0)  # type: ignore[method-assign]
    step()
    assert controller.history[-1] is before


@pytest.mark.parametrize("returned", [None, 3])
def test_methods_that_return_no_state_or_no_metrics_fail_too(returned: Any) -> None:
    for method in ("measure_state", "get_metrics"):
        pool, _, step = grown()
        setattr(pool, method, lambda: returned)
        assert step().outcome is Outcome.FAILED


def test_a_failed_change_is_counted_and_shows_what_was_seen_and_wanted() -> None:
    pool = Pool(10, 8.0)
    controller, step = controlled(pool, Pushes(GROW))
    pool.broken_applying = ActuatorError("refused")
    decision = step()
    assert decision.outcome is Outcome.FAILED
    assert decision.reasons == ("applying size 20: ActuatorError: refused",)
    assert decision.state is controller.history[-1]
    assert (decision.force, decision.wanted, decision.allowed) == (GROW, pytest.approx(20.0), 10)
    assert (controller.failures, controller.changes, controller.size) == (1, 0, 10)
    pool.broken_applying = None
    assert (step().outcome, pool.size) == (Outcome.CHANGED, 20)


def test_a_law_that_raises_does_not_end_the_loop() -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW, ZeroDivisionError("by zero"), GROW))
    step()
    decision = step()
    assert decision.outcome is Outcome.FAILED
    assert decision.reasons == ("computing the force: ZeroDivisionError: by zero",)
    assert decision.state is controller.history[-1]
    assert (controller.failures, pool.size) == (1, 20)
    assert (step().outcome, pool.size) == (Outcome.CHANGED, 40)


@pytest.mark.parametrize("method", ["setpoint", "predict_next_state", "anticipate"])
def test_nor_does_any_other_part_of_it(method: str) -> None:
    def broken(self: Any, argument: Any) -> Any:
        raise ZeroDivisionError("by zero")

    law = type("Broken", (Pushes,), {method: broken})(GROW)
    pool = Pool(10)
    _, step = controlled(pool, law)
    decision = step()
    assert decision.outcome is Outcome.FAILED
    assert "ZeroDivisionError: by zero" in decision.reasons[0]
    assert pool.applied == []


@pytest.mark.parametrize("force", [nan, float("nan")])
def test_a_force_that_is_no_number_holds_the_size(force: float) -> None:
    pool, _, step = grown()
    controller, step = controlled(pool, Pushes(force, GROW))
    decision = step()
    assert (decision.outcome, decision.reasons) == (Outcome.HELD, ("the law answered no number",))
    assert (decision.allowed, controller.failures) == (20, 0)
    assert step().allowed == 40


@pytest.mark.parametrize(("force", "size"), [(inf, 200), (-inf, 10), (1e308, 200), (-1e308, 10)])
def test_a_force_without_end_goes_as_far_as_the_slew_limit(force: float, size: int) -> None:
    pool = Pool(20)
    _, step = controlled(pool, Pushes(force))
    assert (step().reasons, pool.size) == (("slew limit",), size)


@pytest.mark.parametrize("force", [None, "much", 1j, [0.5]])
def test_a_force_that_is_not_even_a_float_is_a_failure(force: Any) -> None:
    pool = Pool(20)
    _, step = controlled(pool, Pushes(force))
    decision = step()
    assert (decision.outcome, decision.force) == (Outcome.FAILED, 0.0)
    assert decision.reasons[0].startswith(
        ("computing the force: TypeError", "computing the force: ValueError")
    )
    assert pool.applied == []


@pytest.mark.parametrize("throughput", [nan, inf, -inf, -1.0])
def test_a_throughput_that_cannot_be_is_not_learnt_from(throughput: float) -> None:
    pool = Pool(10)
    pool.metrics = {"throughput": throughput}
    _, step = controlled(pool, Pushes(GROW))
    assert (step().outcome, pool.size) == (Outcome.CHANGED, 20)


# ---- too many of them ----------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_after_too_many_failures_in_a_row_the_original_is_restored(method: str) -> None:
    pool, controller, step = grown()
    setattr(pool, method, RuntimeError("gone"))
    assert [step().outcome for _ in range(N)] == [Outcome.FAILED] * (N - 1) + [Outcome.SUSPENDED]
    assert (pool.size, controller.size, controller.suspended) == (10, 10, True)
    assert controller.decisions[-1].allowed == 10
    assert [step().outcome for _ in range(5)] == [Outcome.SUSPENDED] * 5
    assert pool.applied == [20, 10]
    assert controller.failures == N + 5


def test_failures_that_are_not_in_a_row_do_not_add_up() -> None:
    pool, controller, step = grown()
    for _ in range(5):
        for broken in [RuntimeError("gone")] * (N - 1) + [None]:
            pool.broken_measuring = broken
            step()
    assert not controller.suspended
    assert pool.size == 20


def test_a_law_that_keeps_raising_gives_the_resource_back_too() -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW, ValueError("always")), max_failures=N)
    for _ in range(1 + N):
        step()
    assert (pool.size, controller.suspended) == (10, True)


def test_changes_that_fail_in_a_row_suspend_as_well() -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW), max_failures=N)
    step()
    pool.broken_applying = OSError("read-only")
    outcomes = [step().outcome for _ in range(N)]
    assert outcomes == [Outcome.FAILED] * (N - 1) + [Outcome.SUSPENDED]
    assert controller.decisions[-1].reasons == (
        "applying size 40: OSError: read-only;"
        " the original size 10 could not be restored (now 20): read-only",
    )


def test_a_restore_that_fails_is_tried_again_while_measuring_fails() -> None:
    pool, controller, step = grown()
    pool.broken_measuring = pool.broken_applying = RuntimeError("gone")
    for _ in range(N + 2):
        step()
    assert (pool.size, controller.size, controller.suspended) == (20, 20, True)
    assert "could not be restored" in controller.decisions[-1].reasons[0]
    pool.broken_applying = None
    assert step().reasons == ("measuring: RuntimeError: gone",)
    assert (pool.size, controller.size) == (10, 10)


def test_a_restore_that_fails_is_tried_again_when_measuring_is_good_again() -> None:
    pool, controller, step = grown()
    pool.broken_measuring = pool.broken_applying = RuntimeError("gone")
    for _ in range(N):
        step()
    pool.broken_measuring = None
    for _ in range(N + 2):  # what cannot be set is not fit to be steered, however well it measures
        decision = step()
        assert decision.outcome is Outcome.SUSPENDED
        assert "could not be restored" in decision.reasons[0]
    pool.broken_applying = None
    assert (step().reasons, pool.size) == (("waiting for good measurements",), 10)
    assert controller.suspended


def test_it_is_restored_by_stop_if_all_else_fails() -> None:
    pool, controller, step = grown()
    pool.broken_measuring = pool.broken_applying = RuntimeError("gone")
    for _ in range(N):
        step()
    with pytest.raises(ActuatorError, match="original size 10 could not be restored"):
        controller.stop()
    pool.broken_applying = None
    controller.stop()
    assert pool.size == 10


def test_control_is_taken_up_after_as_many_good_measurements() -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW, GROW), max_failures=N)
    step()
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(N):
        step()
    pool.broken_measuring = None
    for _ in range(N - 1):
        decision = step()
        assert decision.outcome is Outcome.SUSPENDED
        assert decision.reasons == ("waiting for good measurements",)
        assert decision.state is controller.history[-1]
        assert pool.size == 10
    assert step().outcome is Outcome.CHANGED
    assert (pool.size, controller.suspended) == (20, False)


def test_a_size_that_somebody_keeps_is_left_through_failures_and_given_back_once_nobody_does() -> None:
    pause = Pause()
    pool, controller, step = grown(links=(pause,))
    pause.why = "paused by hand"
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(N + 2):
        decision = step()
    assert (pool.size, controller.suspended, controller.tally.handed_back) == (20, True, 0)
    assert "the size is left as somebody wants it" in decision.reasons[0]
    pause.why = ""
    step()
    assert (pool.size, controller.suspended) == (10, True)


def test_while_somebody_keeps_a_size_good_measurements_end_the_suspension_too() -> None:
    pause = Pause()
    pool, controller, step = grown(links=(pause,))
    pause.why = "paused by hand"
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(N):
        step()
    pool.broken_measuring = None
    for _ in range(N):
        step()
    assert (pool.size, controller.suspended) == (20, False)


def test_a_failure_in_between_begins_the_count_anew() -> None:
    pool, controller, step = grown()
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(N):
        step()
    for broken in [None] * (N - 1) + [RuntimeError("again")] + [None] * (N - 1):
        pool.broken_measuring = broken
        assert step().outcome is Outcome.SUSPENDED
    assert step().outcome is Outcome.HELD
    assert not controller.suspended


def test_a_second_suspension_comes_after_as_many_failures_as_the_first() -> None:
    pool, _, step = grown()
    for _ in range(2):
        pool.broken_measuring = RuntimeError("gone")
        outcomes = [step().outcome for _ in range(N)]
        assert outcomes == [Outcome.FAILED] * (N - 1) + [Outcome.SUSPENDED]
        pool.broken_measuring = None
        for _ in range(N):
            decision = step()
        assert decision.outcome is Outcome.HELD


def test_a_resource_that_never_worked_is_not_touched() -> None:
    pool = Pool()
    pool.broken_measuring = RuntimeError("gone")
    controller, step = controlled(pool, max_failures=N)
    for _ in range(N + 1):
        decision = step()
    assert (decision.outcome, decision.allowed) == (Outcome.SUSPENDED, 0)
    controller.stop()
    assert pool.applied == []
    assert (controller.size, controller.original) == (None, None)


def test_each_series_of_failures_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "quantum_control")
    pool, _, step = grown()
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(10):
        step()
    assert [record.message for record in caplog.records if "gone" in record.message] == [
        "<QuantumController of Pool: pushes, size 20>: measuring: RuntimeError: gone"
    ]


def test_the_gap_left_by_failures_does_not_show_as_motion() -> None:
    pool = Pool(100, 50.0)
    controller, step = controlled(pool, max_failures=100)
    for _ in range(20):
        step()
    pool.broken_measuring = RuntimeError("gone")
    for _ in range(30):
        step()
    pool.broken_measuring = None
    step()
    assert controller.history[-1].velocity == pytest.approx(0.0, abs=1e-9)
    assert controller.history[-1].forecast == pytest.approx(50.0)


# ---- what is nobody's to catch -----------------------------------------------------------------------


@pytest.mark.parametrize("method", [*METHODS, "broken_applying"])
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
def test_an_interrupt_passes_through_and_leaves_a_controller_that_can_go_on(
    method: str, kind: type[BaseException]
) -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW))
    step()
    setattr(pool, method, kind())
    with pytest.raises(kind):
        step()
    assert (controller.failures, controller.steps) == (0, 1)
    setattr(pool, method, None)
    assert (step().outcome, pool.size) == (Outcome.CHANGED, 40)
    controller.stop()
    assert pool.size == 10


def test_an_order_that_was_interrupted_is_undone_by_stop() -> None:
    pool = Pool(10)
    controller, step = controlled(pool, Pushes(GROW))
    pool.broken_applying = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        step()
    pool.broken_applying = None
    controller.stop()
    assert pool.applied == [10]

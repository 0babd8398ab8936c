import logging

import pytest
from doubles import Pool

from quantum_control import ActuatorError
from quantum_control.core.actuator import PATIENCE, Actuator


def test_the_first_size_seen_is_the_original() -> None:
    actuator = Actuator(Pool())
    assert (actuator.original, actuator.size) == (0, 0)
    actuator.see(7.0, 0)
    assert (actuator.original, actuator.size, actuator.exact) == (7, 7, 7.0)


def test_an_original_that_is_no_whole_unit_is_rounded_to_one() -> None:
    for size, original in ((7.4, 7), (0.2, 1)):
        actuator = Actuator(Pool())
        actuator.see(size, 0)
        assert actuator.original == original


def started(size: float = 10.0) -> tuple[Actuator, Pool]:
    pool = Pool(size)
    actuator = Actuator(pool)
    actuator.see(size, 0)
    return actuator, pool


def test_an_order_is_applied_and_undone() -> None:
    actuator, pool = started()
    actuator.order(15)
    assert (actuator.size, pool.size) == (15, 15)
    actuator.restore()
    assert (actuator.size, pool.size) == (10, 10)


def test_nothing_is_put_back_where_nothing_was_changed() -> None:
    actuator, pool = started()
    actuator.restore()
    Actuator(pool).restore()
    assert pool.applied == []


def test_a_failed_order_leaves_the_size_and_is_undone_all_the_same() -> None:
    actuator, pool = started()
    pool.broken_applying = RuntimeError("half done")
    with pytest.raises(RuntimeError, match="half done"):
        actuator.order(15)
    assert actuator.size == 10
    pool.broken_applying = None
    actuator.restore()
    assert pool.applied == [10]
    actuator.restore()
    assert pool.applied == [10]


def test_what_cannot_be_put_back_is_said_and_tried_again() -> None:
    actuator, pool = started()
    actuator.order(15)
    pool.broken_applying = cause = RuntimeError("locked")
    with pytest.raises(
        ActuatorError, match=r"original size 10 could not be restored \(now 15\): locked"
    ) as info:
        actuator.restore()
    assert info.value.__cause__ is cause
    pool.broken_applying = None
    actuator.restore()
    assert pool.applied == [15, 10]


def test_a_size_set_by_somebody_else_is_taken_over_after_some_patience(
    caplog: pytest.LogCaptureFixture,
) -> None:
    actuator, _ = started()
    for _ in range(PATIENCE):
        actuator.see(40.0, 0)
        assert actuator.size == 10
    actuator.see(40.0, 0)
    assert (actuator.size, actuator.exact, actuator.original) == (40, 40.0, 10)
    assert "the size of Pool is 40, not 10 as ordered" in caplog.text


def test_patience_is_longer_where_orders_take_longer() -> None:
    actuator, _ = started()
    for _ in range(PATIENCE + 2):
        actuator.see(40.0, 2)
    assert actuator.size == 10
    actuator.see(40.0, 2)
    assert actuator.size == 40


def test_a_size_on_its_way_to_what_was_ordered_is_waited_for() -> None:
    actuator, _ = started()
    actuator.order(100)
    for size in range(11, 100):
        actuator.see(float(size), 0)
        assert actuator.size == 100


def test_an_order_that_was_given_up_and_comes_late_is_undone() -> None:
    pool = Pool(10, delay=PATIENCE + 4)
    actuator = Actuator(pool)
    actuator.see(pool.measure_state().size, 0)
    actuator.order(20)
    for _ in range(PATIENCE + 1):
        actuator.see(pool.measure_state().size, 0)
    assert actuator.size == 10
    actuator.restore()
    for _ in range(PATIENCE + 6):
        pool.measure_state()
    assert pool.size == 10


def test_a_size_that_stops_on_its_way_is_taken_over() -> None:
    actuator, _ = started()
    actuator.order(100)
    for size in (20.0, 30.0, *[35.0] * (PATIENCE + 2)):
        actuator.see(size, 0)
    assert actuator.size == 35


def test_less_than_a_unit_off_is_as_ordered() -> None:
    actuator, _ = started()
    for _ in range(20):
        actuator.see(10.6, 0)
    assert actuator.size == 10


def test_a_size_that_always_comes_out_the_same_other_one_is_told_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING, "quantum_control")
    actuator, _ = started(8192.0)
    for _ in range(40):
        actuator.order(10_000)
        actuator.see(8192.0, 0)
    assert len(caplog.records) == 1


class Changed(Pool):
    """Counts how often it has come upon another original."""

    found_anew = 0


def test_what_a_resource_has_found_anew_is_the_original() -> None:
    pool = Changed(10)
    actuator = Actuator(pool)
    actuator.see(10.0, 1)
    actuator.order(20)
    pool.found_anew += 1
    actuator.see(40.0, 1)
    assert (actuator.original, actuator.size) == (40, 40)
    actuator.order(30)
    actuator.restore()
    assert pool.size == 40

"""CpythonGc: the thresholds of this process, which are put back after each test."""

import gc
import logging

import pytest
from core.doubles import Clock

from quantum_control import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.resources import fragmentation
from quantum_control.resources.cpython_gc import HANDS_OFF_SECONDS, LARGEST_CHANGE, CpythonGc


@pytest.fixture(autouse=True)
def as_found():
    found, enabled, callbacks = gc.get_threshold(), gc.isenabled(), list(gc.callbacks)
    gc.set_threshold(700, 10, 10)
    gc.disable()  # until told: a collection in mid-test would count; `steered` switches it on
    yield
    gc.callbacks[:] = callbacks
    gc.set_threshold(*found)
    gc.enable() if enabled else gc.disable()


@pytest.fixture
def steered():
    """Steer with a clock that stands, so that only the collections that a test tells of take time."""
    gc.enable()
    clock = Clock()
    with CpythonGc(clock=clock) as resource:
        gc.callbacks.remove(resource._notice)  # real collections are not to be seen

        def collect(seconds, generation=0):
            resource._notice("start", {"generation": generation})
            clock.tick(seconds)
            resource._notice("stop", {"generation": generation})

        yield resource, clock, collect
        gc.callbacks.append(resource._notice)


def test_costly_collecting_wants_a_larger_threshold(steered):
    resource, clock, collect = steered
    for _ in range(10):
        collect(0.004)
    clock.tick(0.96)  # 4 % of a second: twice the threshold, by the square root of four
    assert resource.measure_state().size == 700
    assert resource.get_metrics()["collecting_ratio"] == pytest.approx(0.04)
    assert resource.get_metrics()["longest_pause_seconds"] == pytest.approx(0.004)
    assert resource.get_metrics()["allocated_objects"] == pytest.approx(7000)


def test_the_threshold_goes_where_the_share_is_met_and_is_put_back(steered):
    resource, clock, collect = steered
    controller = QuantumController(resource, clock=clock)
    for _ in range(40):
        size = gc.get_threshold()[0]
        collect(0.04 * 700 / size, generation=2)  # the share is in proportion to 1/threshold: 1 % at 2800
        clock.tick(1.0)
        controller.optimize()
    assert 2000 < gc.get_threshold()[0] < 4000
    assert gc.get_threshold()[1:] == (10, 10)
    controller.stop()
    assert gc.get_threshold() == (700, 10, 10)


def test_long_young_pauses_want_a_smaller_one_whatever_the_share(steered):
    resource, clock, collect = steered
    gc.set_threshold(20_000, 10, 10)
    resource._custody.ordered = gc.get_threshold()
    collect(0.02)
    clock.tick(0.1)
    assert resource.measure_state().demand == pytest.approx(20_000 / LARGEST_CHANGE)


def test_a_full_collection_is_no_young_pause(steered):
    resource, clock, collect = steered
    collect(0.02, generation=2)
    clock.tick(0.1)
    assert resource.measure_state().demand > 700


def test_without_collections_nothing_changes(steered):
    resource, clock, _ = steered
    clock.tick(1.0)
    assert resource.measure_state().position == 0.0


def test_real_collections_are_seen():
    gc.enable()
    with CpythonGc() as resource:
        resource.measure_state()
        gc.collect()
        resource.measure_state()
        assert resource.get_metrics()["longest_pause_seconds"] > 0.0


def test_a_change_by_somebody_else_is_left_alone_told_and_becomes_the_original(steered, caplog):
    resource, clock, _ = steered
    resource.apply_control(1000)
    gc.set_threshold(900, 5, 5)
    clock.tick()
    with caplog.at_level(logging.WARNING, "quantum_control"):
        resource.measure_state()
    assert "(900, 5, 5) by somebody else" in caplog.text
    for _ in range(2):
        assert resource.get_metrics()["set_by_hand"] == 1.0
        with pytest.raises(SafetyError, match="left alone for another"):
            resource.apply_control(1000)
        clock.tick(HANDS_OFF_SECONDS / 2 - 1.0)
    assert gc.get_threshold() == (900, 5, 5)
    clock.tick(2.0)
    assert resource.get_metrics()["set_by_hand"] == 0.0
    resource.apply_control(1000)
    assert gc.get_threshold() == (1000, 5, 5)
    gc.callbacks.append(resource._notice)
    resource.release()
    assert gc.get_threshold() == (900, 5, 5)
    gc.callbacks.append(resource._notice)  # the fixture releases it again


def test_thresholds_that_somebody_else_has_set_stay_at_the_end_all_three_of_them(steered):
    resource, clock, collect = steered
    controller = QuantumController(resource, clock=clock)
    collect(0.02)
    clock.tick()
    controller.optimize()
    gc.set_threshold(900, 5, 5)
    clock.tick()
    controller.optimize()
    controller.stop()
    assert gc.get_threshold() == (900, 5, 5)
    clock.tick(HANDS_OFF_SECONDS)
    resource.apply_control(1000)
    resource.apply_control(controller.original)
    assert gc.get_threshold() == (900, 5, 5)


def test_what_is_set_a_second_time_and_was_not_measured_yet_stays_at_the_end_too(steered):
    resource, clock, _ = steered
    gc.set_threshold(900, 5, 5)
    resource.measure_state()
    clock.tick(HANDS_OFF_SECONDS)
    resource.apply_control(1000)
    gc.set_threshold(800, 5, 5)
    resource.apply_control(900)  # as `stop()` orders it
    assert gc.get_threshold() == (800, 5, 5)


def test_a_snapshot_does_not_overrule_whoever_has_set_them_just_now(steered):
    resource, _, _ = steered
    snapshot = resource.snapshot()
    resource.apply_control(1000)
    gc.set_threshold(900, 5, 5)
    resource.restore(snapshot)
    assert gc.get_threshold() == (900, 5, 5)
    assert resource.snapshot() == {"thresholds": [900, 5, 5]}
    assert resource.found_anew == 1


def test_what_was_set_just_now_stays_at_the_end_however_short_it_is_left_alone(steered):
    resource = CpythonGc(hands_off=0.0)
    kept = resource.snapshot()
    resource.apply_control(2000)
    gc.set_threshold(900, 5, 5)
    resource.apply_control(700)  # as `stop()` orders it
    assert gc.get_threshold() == (900, 5, 5)
    resource.apply_control(2000)
    gc.set_threshold(800, 5, 5)
    resource.restore(kept)
    assert gc.get_threshold() == (800, 5, 5)


def test_what_only_looks_trims_nothing(steered, monkeypatch):
    resource, clock, _ = steered
    trims = []
    monkeypatch.setattr(fragmentation, "heap", lambda: fragmentation.Heap(100, 50, 50))
    monkeypatch.setattr(fragmentation, "trim", lambda: trims.append(1) or 0)
    for resource.steers_while_measuring in (False, True):
        clock.tick(fragmentation.SELDOM)
        resource.measure_state()
        clock.tick(fragmentation.SELDOM)
        resource.measure_state()
        assert resource.get_metrics()["heap_unused_ratio"] == 0.5
        assert bool(trims) == resource.steers_while_measuring


def test_one_made_between_two_measurements_is_not_overwritten(steered):
    resource, _, _ = steered
    gc.set_threshold(900, 5, 5)
    with pytest.raises(SafetyError, match=r"\(900, 5, 5\) by somebody else"):
        resource.apply_control(1000)
    resource.apply_control(900)
    assert gc.get_threshold() == (900, 5, 5)


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    with pytest.raises(ConfigError, match="switched off"):
        CpythonGc()


def test_one_that_is_switched_off_meanwhile_is_told(steered):
    resource, _, _ = steered
    gc.disable()
    with pytest.raises(SensorError, match="switched off"):
        resource.measure_state()


def test_what_was_frozen_is_let_go():
    gc.enable()
    before = gc.get_freeze_count()
    resource = CpythonGc()
    assert resource.freeze() > before
    resource.release()
    assert gc.get_freeze_count() == before
    resource.release()


def test_a_snapshot_is_put_back_by_a_fresh_instance(steered):
    resource, _, _ = steered
    snapshot = resource.snapshot()
    resource.apply_control(5000)
    with CpythonGc() as fresh:
        fresh.restore(snapshot)
        assert gc.get_threshold() == (700, 10, 10)
        with pytest.raises(ActuatorError, match="no gc thresholds"):
            fresh.restore({"thresholds": [1]})


@pytest.mark.parametrize("wrong", [{"share": 0.0}, {"share": 1.0}, {"pause": 0.0}])
def test_wrong_parameters_are_told(wrong):
    gc.enable()
    with pytest.raises(ConfigError):
        CpythonGc(**wrong)


def test_a_size_that_is_too_large_is_refused(steered):
    with pytest.raises(ActuatorError, match="set_threshold"):
        steered[0].apply_control(1 << 70)

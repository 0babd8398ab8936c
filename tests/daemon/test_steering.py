"""One resource of the daemon: modes, pauses, roll-backs, a size set by hand, an end in every state."""

import gc
import logging
import tracemalloc

import pytest
from daemons import wait_for
from faulty import Lively
from steered import Queue, placed, steps

from quantum_control import ActuatorError
from quantum_control.config import Mode
from quantum_control.daemon import steering as module


@pytest.fixture
def place(tmp_path, monkeypatch):
    with placed(tmp_path, monkeypatch) as place:
        yield place


@pytest.mark.parametrize("mode", ["observe", "shadow"])
def test_what_is_not_active_is_never_touched(place, mode):
    steering = place.steer(mode)
    steps(steering, count=20)
    assert place.size == 10
    assert place.journal.originals() == []
    steering.end()
    assert place.size == 10


def test_shadow_records_what_it_would_have_done(place):
    steering = place.steer("shadow")
    steps(steering, count=5)
    records = place.records()
    assert {(each["demand"], each["size"], each["mode"]) for each in records} == {(50.0, 10.0, "shadow")}
    assert max(each["as_if_size"] for each in records) > 40


def test_active_steers_and_the_end_puts_everything_back(place):
    steering = place.steer()
    steps(steering, count=3)
    assert place.size > 40
    assert [each.size for each in place.journal.originals()] == [10]
    steering.end()
    assert place.size == 10
    assert place.journal.originals() == []
    steps(steering)
    assert place.size == 10


def test_a_mode_is_switched_at_the_next_step(place):
    steering = place.steer("shadow")
    steps(steering, count=3)
    active = steering.ask_mode(Mode.ACTIVE)
    steps(steering, count=3)
    assert active.result(0) == "shadow -> active"
    assert place.size > 40
    steering.ask_mode(Mode.OBSERVE)
    steps(steering, count=3)
    assert place.size == 10
    assert steering.status()["mode"] == "observe"


@pytest.mark.parametrize(
    ("metrics", "told"),
    [
        ({"lag": None, "busy": 1.5, "up": True}, {"busy": "1.5", "lag": "None", "up": "1"}),
        ({"lag": 10**400, 7: "idle"}, {"7": "idle", "lag": f"1{400 * '0'}"}),
        (None, {}),
    ],
    ids=["no number", "a large one and a strange name", "nothing"],
)
def test_what_an_adapter_says_is_explained_as_it_stands(place, metrics, told):
    steering = place.steer()
    steps(steering)
    steering.controller.metrics = metrics
    assert steering.explain()["metrics"] == told


def test_a_pause_holds_and_resume_goes_on(place):
    steering = place.steer()
    steering.pause.why = "paused by hand"
    steps(steering, count=3)
    assert place.size == 10
    assert steering.status()["state"] == "paused"
    steering.resume()
    steps(steering)
    assert place.size > 10


def test_a_roll_back_puts_the_original_back_and_holds_it_until_resume(place):
    steering = place.steer()
    steps(steering, count=3)
    done = steering.ask_roll_back()
    steps(steering, count=5)
    assert done.result(0) == "size 10"
    assert place.size == 10
    steering.resume()
    steps(steering, count=3)
    assert place.size > 40


def test_a_size_set_by_hand_is_left_also_at_the_end(place):
    steering = place.steer(max_size=20)
    steps(steering, count=6)
    place.path.write_text("77", encoding="ascii")
    steps(steering, count=10)
    assert place.size == 77
    assert steering.explain()["set_by_hand"] == 77
    # Killed now, this would leave it as well.
    assert not place.journal.originals()[0].left_by_us(77)
    steering.end()
    assert place.size == 77
    assert place.journal.originals() == []


def test_a_start_with_another_size_is_no_hand_and_a_hand_after_it_is(place, monkeypatch):
    steering = place.steer(max_size=20)
    steps(steering, count=6)
    monkeypatch.setattr(Queue, "found_anew", 1, raising=False)
    monkeypatch.setattr(Queue, "started_anew", (1, 4), raising=False)
    place.path.write_text("4", encoding="ascii")
    steps(steering, count=5)
    assert (steering.hands.theirs, place.size) == (None, 20)
    place.path.write_text("10", encoding="ascii")  # by hand, and as it was found before the start
    steps(steering, count=10)
    assert (steering.hands.theirs, place.size) == (10, 10)


def test_a_size_set_by_hand_is_left_through_failures_of_the_sensor_and_so_is_one_that_is_paused(place):
    steering, paused = place.steer(max_size=20), place.steer(name="db", max_size=20)
    place.file("db")
    steps(steering, paused, count=6)
    place.path.write_text("77", encoding="ascii")
    paused.pause.why = "paused by hand"
    steps(steering, paused, count=10)
    Queue.blind = "gone"
    steps(steering, paused, count=10)
    assert (steering.status()["state"], place.size, place.size_of("db")) == ("suspended", 77, 20)


def test_what_is_asked_for_by_another_thread_is_done_by_the_next_step(place):
    steering = place.steer(max_size=20)
    steps(steering, count=6)
    place.path.write_text("77", encoding="ascii")
    steps(steering, count=8)
    steering.resume()
    assert steering.hands.theirs == 77
    steps(steering)
    assert (steering.hands.theirs, place.size) == (None, 39)


def test_a_pause_asked_for_after_a_resume_stands(place):
    steering = place.steer()
    steering.ask_roll_back()
    steering.resume()
    steering.pause.why = "paused by hand"
    steps(steering, count=3)
    assert (steering.status()["state"], place.size) == ("paused", 10)


def test_bounds_of_the_configuration_narrow_those_of_the_resource(place):
    steering = place.steer(max_size=20)
    steps(steering, count=5)
    assert place.size == 20


def test_a_budget_is_kept_and_left_at_the_end(place):
    steering = place.steer(budget="all")
    steps(steering, count=5)
    assert place.size == 30
    assert place.budgets["all"].held == 30
    steering.end()
    assert place.size == 10
    assert place.budgets["all"].held == 0


def test_one_writer_at_a_time(place, caplog):
    first, second = place.steer(), place.steer()
    steps(first)
    steps(second)
    assert "steers this resource already" in second.status()["trouble"]
    steps(first, count=3)
    first.end()
    steps(second, count=3)
    assert "trouble" not in second.status()
    assert place.size > 40
    second.end()


def test_what_cannot_be_reached_is_tried_again_less_and_less_often(place, caplog):
    place.path.unlink()
    broken = place.steer(budget="all")  # joining a budget measures
    steps(broken, count=30)
    assert "No such file" in broken.status()["trouble"]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 1
    place.path.write_text("10", encoding="ascii")
    steps(broken, count=40)
    assert "trouble" not in broken.status()


def test_what_cannot_be_put_back_stays_in_the_journal(place):
    steering = place.steer()
    steps(steering, count=3)
    Queue.broken = "locked"
    with pytest.raises(ActuatorError, match="original size 10 of web could not be restored: locked"):
        steering.end()
    assert [each.size for each in place.journal.originals()] == [10]


def test_changes_are_told_in_one_line_each_and_nothing_else(place, caplog):
    caplog.set_level(logging.INFO, "quantum_control")
    steering = place.steer(max_size=20)
    steps(steering, count=20)
    assert len(caplog.records) == 1
    assert caplog.messages[0].startswith("web: as found -> 20: changed: demand 50 at size 10")


def test_every_decision_is_recorded_with_its_reason(place):
    steering = place.steer(max_size=20)
    steps(steering, count=6)
    records = place.records()
    assert len(records) == 6
    assert records[0]["why"] == ["maximum"]
    assert [each["outcome"] for each in records] == ["changed"] + ["held"] * 5


def test_memory_stays_bounded_over_a_long_run(place, monkeypatch, caplog):
    caplog.set_level(logging.WARNING, "quantum_control")  # each line of the log is kept for this test
    monkeypatch.setattr(module, "resource_type", lambda kind: Lively)
    steering = place.steer()
    steps(steering, count=300)  # until every window is full
    gc.collect()
    tracemalloc.start()
    try:
        steps(steering, count=200)
        wait_for(lambda: not place.audit.waiting)
        before = tracemalloc.get_traced_memory()[0]
        steps(steering, count=1000)
        assert steering.status()["changes"] > 500
        wait_for(lambda: not place.audit.waiting)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 30_000
    finally:
        tracemalloc.stop()

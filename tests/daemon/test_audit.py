"""The audit log: append-only, bounded, readable whatever happened to it; and what is read from it."""

import errno
import json

import numpy as np
import pytest
from daemons import wait_for
from hypothesis import given
from hypothesis import strategies as st

from quantum_control import ConfigError, Decision, Objective, Outcome, ResourceState
from quantum_control.daemon.audit import AuditLog, read_records, record
from quantum_control.daemon.history import moment, told
from quantum_control.daemon.worth import FEWEST, replayed, shadowed


def line(time, resource="web", **more):
    return {"time": float(time), "resource": resource, **more}


def text(time, **more):
    return json.dumps(line(time, **more)) + "\n"


def test_what_is_written_is_read_in_order(tmp_path):
    log = AuditLog(tmp_path, 100_000, 3)
    for time in range(100):
        log.write(text(time, resource="ab"[time % 2]))
    log.close()
    assert [each["time"] for each in read_records(tmp_path)] == list(range(100))
    assert [each["time"] for each in read_records(tmp_path, "a", since=90.0)] == [90, 92, 94, 96, 98]


def test_files_are_rotated_and_bounded(tmp_path):
    for turn in range(12):
        log = AuditLog(tmp_path, 70_000, 3)
        for number in range(500):
            log.write(text(turn * 500 + number, filler="x" * 50))
        log.close()
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) <= 70_000
    times = [each["time"] for each in read_records(tmp_path)]
    assert times == sorted(times)
    assert times[-1] == 5999


def test_a_disk_that_takes_nothing_is_told_once_and_does_not_stop_anything(tmp_path, caplog):
    log = AuditLog(tmp_path / "missing", 70_000, 3)
    log.write(text(1))
    wait_for(lambda: log.lost == 1)
    log.write(text(2))
    wait_for(lambda: log.lost == 2)
    assert caplog.text.count("steering goes on without") == 1
    (tmp_path / "missing").mkdir()
    log.write(text(3))
    log.close()
    assert [each["time"] for each in read_records(tmp_path / "missing")] == [3]


class Narrow:
    """A file on a disk that takes a few bytes at a time, and in all no more than `room`."""

    def __init__(self, path, room):
        self.file = path.open("ab", buffering=0)
        self.room = room

    def tell(self):
        return self.file.tell()

    def write(self, content):
        if not self.room:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = self.file.write(content[: min(7, self.room)])
        self.room -= written
        return written

    def close(self):
        self.file.close()


@pytest.fixture
def by_hand(tmp_path, monkeypatch):
    """A log that writes when it is told to."""
    monkeypatch.setattr(AuditLog, "_run", lambda log: None)
    log = AuditLog(tmp_path, 100_000, 3)
    yield log
    log._close()


def test_what_the_disk_takes_a_part_of_is_written_to_its_end(by_hand, tmp_path):
    by_hand._file = Narrow(by_hand.path, 10_000)
    for time in range(10):
        by_hand.write(text(time))
    by_hand._flush()
    assert [each["time"] for each in read_records(tmp_path)] == list(range(10))
    assert by_hand.lost == 0


@pytest.mark.parametrize("cut", [0, 1, 20])
def test_what_is_cut_off_is_counted_and_takes_no_other_with_it(by_hand, tmp_path, cut):
    by_hand._file = Narrow(by_hand.path, 3 * len(text(1)) + cut)
    for time in range(10):
        by_hand.write(text(time))
    by_hand._flush()
    assert by_hand.lost == 7
    by_hand.write(text(10))
    by_hand._flush()
    assert [each["time"] for each in read_records(tmp_path)] == [0, 1, 2, 10]


@given(garbage=st.binary(max_size=200))
def test_damaged_lines_are_left_out(tmp_path_factory, garbage):
    folder = tmp_path_factory.mktemp("audit")
    good = json.dumps(line(1)).encode()
    (folder / "audit.jsonl").write_bytes(good + b"\n" + garbage + b"\n" + good + b"\n" + good[:9])
    assert len(list(read_records(folder, "web"))) >= 2


@given(
    numbers=st.lists(st.floats(), min_size=3, max_size=3),
    resource=st.text(max_size=5),
    reasons=st.lists(st.text(max_size=10), max_size=2),
    shadow=st.booleans(),
)
def test_whatever_was_decided_its_line_is_json(numbers, resource, reasons, shadow):
    state = ResourceState(numbers[0], size=numbers[1])
    decision = Decision(0.0, Outcome.HELD, state, numbers[0], 0.0, numbers[2], 7, tuple(reasons))
    mode = "shadow" if shadow else "active"
    written = record(1.5, resource, mode, decision, state if shadow else None, 0.1)
    assert written.endswith("}\n")
    found = json.loads(written, parse_constant=pytest.fail)
    assert (found["resource"], found["allowed"], found["time"]) == (resource, 7, 1.5)
    assert found.get("why", []) == reasons
    assert ("as_if_size" in found) == shadow


@pytest.mark.parametrize("since", ["yesterday", "10 m", "-3h", "99999999-01-01"])
def test_a_time_that_is_none_is_refused(since):
    with pytest.raises(ConfigError, match="write 10m"):
        moment(since)


def test_times_may_be_spans_or_moments():
    assert moment("") == 0.0
    assert moment("2h") == pytest.approx(moment("120m"), abs=5.0)
    assert moment("1970-01-02T00:00+00:00") == 86_400.0


def shadow(count, demand, size, twin):
    return [
        line(time, demand=demand, size=size, as_if_demand=demand, as_if_size=twin + time % 2)
        for time in range(count)
    ]


def test_a_twin_that_costs_less_is_worth_something():
    played = shadowed(shadow(600, 8.0, 40.0, 10.0), Objective())
    assert played.saving == pytest.approx(1.0 - (10.5 + 0.3) / 40.0, abs=0.01)
    assert played.interval[0] <= played.saving <= played.interval[1]
    assert "saves" in told(played, "as it was", "shadow")


def test_a_twin_that_costs_more_is_said_to():
    assert "costs more" in told(shadowed(shadow(600, 8.0, 10.0, 40.0), Objective()), "as it was", "shadow")


def test_too_little_says_nothing():
    with pytest.raises(ConfigError, match=f"{FEWEST} are the least"):
        shadowed(shadow(FEWEST - 1, 8.0, 10.0, 40.0), Objective())


def test_a_replay_meets_the_flow_that_was_recorded():
    rng = np.random.default_rng(3)
    flow = rng.poisson(20.0, 600).astype(float)
    demand, backlog = [], 0.0
    for new in flow:
        demand.append(backlog + new)
        backlog = max(backlog + new - 60.0, 0.0)
    played = replayed(demand, [60.0] * 600, "optomechanical", auto_tune=False, objective=Objective())
    assert played.mean_size == 60.0
    assert 18.0 < played.other_size < 40.0
    assert played.saving > 0.2
    fixed = replayed(
        demand, [60.0] * 600, "optomechanical", auto_tune=False, objective=Objective(), bounds=(60, 60)
    )
    assert fixed.saving == 0.0

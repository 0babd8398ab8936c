"""A gunicorn is looked at once it has begun all its workers."""

from __future__ import annotations

import os

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.resources import gunicorn_found
from quantum_control.resources.gunicorn_found import BEGUN_SECONDS, begun, written
from quantum_control.resources.gunicorn_load import Sight
from quantum_control.resources.gunicorn_master import Crew, Worker
from quantum_control.resources.gunicorn_setting import Seen

TICKS = os.sysconf("SC_CLK_TCK")


class Gunicorn:
    """Has so many workers at each look, the last of them begun so many seconds before; and the time."""

    CLOCK_BOOTTIME = 7

    def __init__(self, number, age=0.0):
        self.number, self.age = number, age
        self.passed = 0.0

    def sight(self, _):
        started = round((1000.0 + self.passed - self.age) * TICKS)
        pids = range(1, self.number(self.passed) + 1)
        workers = tuple(Worker(pid, started, frozenset(), 0.0, serves=True) for pid in pids)
        seen = [Seen(pid, serves=True, busy=False, beat=0.0) for pid in pids]
        return Sight(Crew(workers, 0), seen, {}, 0)

    def clock_gettime(self, _):
        return 1000.0 + self.passed

    def monotonic(self):
        return self.passed

    def sleep(self, seconds):
        self.passed += seconds


@pytest.fixture
def look(monkeypatch):
    def look(gunicorn):
        monkeypatch.setattr(gunicorn_found, "time", gunicorn)
        monkeypatch.setattr(gunicorn_found, "sight", gunicorn.sight)
        return len(begun(gunicorn).seen)

    return look


def test_those_that_are_still_to_come_are_waited_for(look):
    gunicorn = Gunicorn(lambda passed: min(1 + int(passed / 0.4), 8))
    assert look(gunicorn) == 8


def test_those_that_have_been_there_for_a_while_are_not_waited_for(look):
    gunicorn = Gunicorn(lambda _: 4, age=60.0)
    assert look(gunicorn) == 4
    assert gunicorn.passed == 0.0


def test_where_workers_come_and_go_it_is_enough_that_they_become_no_more(look):
    gunicorn = Gunicorn(lambda passed: 3 + round(passed / 0.05) % 2)
    assert look(gunicorn) in {3, 4}
    assert gunicorn.passed < 2.0 * BEGUN_SECONDS


def test_one_without_workers_is_told(look):
    with pytest.raises(SensorError, match="has no workers yet"):
        look(Gunicorn(lambda _: 0))


def test_a_pidfile_that_says_nothing_is_told(tmp_path):
    (tmp_path / "pid").write_text("none\n", "ascii")
    with pytest.raises(SensorError, match="no process id can be read from"):
        written(str(tmp_path / "pid"))

"""Intervals are kept whatever hangs."""

import threading

import pytest
from daemons import wait_for

from quantum_control.daemon.scheduler import SLOTS, SPARE, Scheduler


@pytest.fixture
def scheduler():
    scheduler = Scheduler()
    scheduler.start()
    yield scheduler
    scheduler.close()


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1


def test_every_task_is_called_again_and_again(scheduler):
    counts = [Counting() for _ in range(100)]
    for number, count in enumerate(counts):
        scheduler.add(str(number), 0.02, count)
    wait_for(lambda: all(count.calls >= 5 for count in counts))


def test_those_that_hang_delay_no_other_and_are_not_called_twice(scheduler):
    hang = threading.Event()
    stuck = Counting()

    def hanging():
        stuck()
        hang.wait()

    for number in range(10):
        scheduler.add(f"hanging {number}", 0.02, hanging)
    counts = [Counting() for _ in range(50)]
    for number, count in enumerate(counts):
        scheduler.add(str(number), 0.02, count)
    wait_for(lambda: all(count.calls >= 20 for count in counts))
    assert stuck.calls == 10
    hang.set()
    wait_for(lambda: stuck.calls > 10)


def test_one_that_raises_is_called_again_and_the_others_too(scheduler, caplog):
    broken, fine = Counting(), Counting()

    def raising():
        broken()
        raise RuntimeError("on purpose")

    scheduler.add("broken", 0.02, raising)
    scheduler.add("fine", 0.02, fine)
    wait_for(lambda: broken.calls >= 3 and fine.calls >= 3)
    assert "broken: an error in the daemon itself" in caplog.text


def test_a_removed_task_is_not_called_again(scheduler):
    first, second = Counting(), Counting()
    task = scheduler.add("first", 0.01, first)
    scheduler.add("second", 0.01, second)
    wait_for(lambda: first.calls)
    scheduler.remove(task)
    seen = second.calls
    wait_for(lambda: second.calls > seen + 3)
    count = first.calls
    seen = second.calls
    wait_for(lambda: second.calls > seen + 5)
    assert first.calls == count


def test_a_task_can_be_hastened(scheduler):
    count = Counting()
    task = scheduler.add("slow", 3600.0, count)
    scheduler.hasten(task)
    wait_for(lambda: count.calls == 1)


def test_one_that_is_hastened_during_its_call_is_called_once_more_when_that_comes_back(scheduler):
    count, begun, go_on = Counting(), threading.Event(), threading.Event()

    def call():
        count()
        begun.set()
        go_on.wait()

    task = scheduler.add("slow", 3600.0, call)
    scheduler.hasten(task)
    assert begun.wait(10.0)
    scheduler.hasten(task)
    scheduler.hasten(task)
    assert count.calls == 1
    go_on.set()
    wait_for(lambda: count.calls == 2)
    wait_for(lambda: not task.began)
    assert not task.hastened


def test_calls_fall_due_on_a_grid_and_spread_over_the_interval():
    now = [1000.3]
    scheduler = Scheduler(lambda: now[0])
    tasks = [scheduler.add(str(number), 1.0, Counting()) for number in range(100)]
    moments = {round(task.due % 1.0, 6) for task in tasks}
    assert len(moments) == SLOTS


def test_workers_that_are_no_longer_needed_end(scheduler):
    hang = threading.Event()
    for number in range(20):
        scheduler.add(f"hanging {number}", 0.05, hang.wait)
    wait_for(lambda: len(workers()) >= 20)
    hang.set()
    wait_for(lambda: len(workers()) <= SPARE + 2)


def workers():
    return [thread for thread in threading.enumerate() if thread.name == "quantum_control worker"]

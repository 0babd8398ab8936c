"""Playing a load to the pools in turn."""

import threading

import numpy as np
import pytest

from quantum_control.demo import run
from quantum_control.demo.arms import FixedArm, SteeredArm
from quantum_control.demo.load import Load, Segment


class Tasks:
    """Work without a server: `wait` says what is done."""

    def __init__(self, does=lambda wait: None):
        self.run = does


def load_of(*dues, seconds=0.2):
    """Give a load of one segment for each list of times."""
    segments = [
        Segment(seconds, np.array(due, float), np.full(len(due), 0.02), np.full(len(due), True))
        for due in dues
    ]
    return Load(tuple(segments), np.ones(4 * len(segments)), (0.02, 0.05), "test")


@pytest.fixture
def one_thread():
    """Give an arm of one thread."""
    arm = FixedArm(1)
    yield arm
    arm.close()


def nobody(arm, segment, sample):
    """Look away."""


@pytest.mark.parametrize(("segments", "arms"), [(6, 3), (12, 4), (7, 3), (4, 2)])
def test_every_arm_plays_every_segment_once_and_none_is_always_first(segments, arms):
    turns = list(run.turns(segments, arms))
    assert sorted(turns) == [(segment, arm) for segment in range(segments) for arm in range(arms)]
    assert [segment for segment, _ in turns] == sorted(segment for segment, _ in turns)
    firsts = [turns[segment * arms][1] for segment in range(segments)]
    counts = [firsts.count(arm) for arm in range(arms)]
    assert max(counts) - min(counts) <= 2


def test_every_task_is_run_once_and_its_wait_counts_from_when_it_was_due(one_thread):
    done = []
    load = load_of([0.0, 0.0, 0.05], [0.0])
    [played] = run.play(load, [one_thread], Tasks(done.append), nobody)
    assert len(done) == 4
    assert [each.waits.size for each in played] == [3, 1]
    assert all(np.all(each.waits >= 0.0) and np.all(each.services >= 0.0) for each in played)
    assert [each.dropped for each in played] == [0, 0]
    assert all(each.seconds >= 0.2 for each in played)


def test_a_fixed_size_pays_for_its_threads_all_the_time_and_never_changes(one_thread):
    [[played]] = run.play(load_of([0.0]), [one_thread], Tasks(), nobody)
    assert played.thread_seconds == pytest.approx(played.seconds)
    assert played.change == 0.0
    assert played.control_cpu == 0.0


def test_tasks_that_never_began_count_with_the_wait_that_they_have_had(one_thread, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", 0.1)
    released = threading.Event()
    timer = threading.Timer(1.0, released.set)
    timer.start()
    [[played]] = run.play(
        load_of([0.0, 0.1, 0.15]), [one_thread], Tasks(lambda wait: released.wait(60.0)), nobody
    )
    timer.join()
    assert played.dropped == 2
    assert played.waits[1:] == pytest.approx(played.seconds - np.array([0.1, 0.15]))
    assert np.all(np.isfinite(played.services))
    assert played.throughput == pytest.approx(1.0 / played.seconds)


def test_the_next_segment_begins_with_an_empty_queue_after_one_that_was_too_much(one_thread, monkeypatch):
    monkeypatch.setattr(run, "PATIENCE", 0.1)
    first = threading.Event()
    timer = threading.Timer(1.0, first.set)
    timer.start()
    [played] = run.play(
        load_of([0.0, 0.1], [0.0]), [one_thread], Tasks(lambda wait: first.wait(60.0)), nobody
    )
    timer.join()
    assert [each.dropped for each in played] == [1, 0]


def test_failed_tasks_are_counted_and_are_no_throughput(one_thread):
    def fails(wait):
        raise OSError

    [[played]] = run.play(load_of([0.0, 0.0]), [one_thread], Tasks(fails), nobody)
    assert played.failed == 2
    assert played.throughput == 0.0


def test_a_segment_without_tasks_lasts_its_time(one_thread):
    [[played]] = run.play(load_of([]), [one_thread], Tasks(), nobody)
    assert played.waits.size == played.services.size == 0
    assert played.throughput == 0.0


def test_samples_tell_size_demand_and_wait(one_thread):
    seen = []
    run.play(load_of([0.0]), [one_thread], Tasks(), lambda *sample: seen.append(sample))
    arms, segments, samples = zip(*seen, strict=True)
    assert set(arms) == {one_thread}
    assert set(segments) == {0}
    assert all(sample.threads == 1 and sample.demand >= 0.0 for sample in samples)
    assert [sample.time for sample in samples] == sorted(sample.time for sample in samples)


def test_ctrl_c_in_the_middle_of_a_segment_leaves_no_thread_behind():
    before = set(threading.enumerate())
    arm = SteeredArm()

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.play(load_of([0.0, 0.1]), [arm], Tasks(), interrupt)
    assert not arm.controller.running
    arm.close()
    assert set(threading.enumerate()) <= before

"""Whose processor time counts for the collector's, and which of it for giving memory back."""

from __future__ import annotations

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.resources.jvm_threads import SCAN_EVERY, CollectorThreads

SECOND = 1_000_000_000


def spend(proc, thread, name, seconds):
    folder = proc / "7" / "task" / str(thread)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "comm").write_text(name + "\n")
    (folder / "schedstat").write_text(f"{round(seconds * SECOND)} 0 1\n")


def test_giving_memory_back_is_told_apart_and_the_program_counts_for_nothing(tmp_path):
    for thread, name in enumerate(("java", "ZWorker#0", "ZUncommitter")):
        spend(tmp_path, thread, name, 1.0)
    threads = CollectorThreads(7, tmp_path)
    assert threads.seconds() == threads.returned == 0.0
    spend(tmp_path, 0, "java", 9.0)
    spend(tmp_path, 1, "ZWorker#0", 1.5)
    spend(tmp_path, 2, "ZUncommitter", 1.25)
    assert threads.seconds() == pytest.approx(0.75)
    assert threads.returned == pytest.approx(0.25)


def test_a_thread_that_is_new_counts_from_its_beginning(tmp_path):
    spend(tmp_path, 1, "ZWorker#0", 1.0)
    threads = CollectorThreads(7, tmp_path)
    threads.seconds()
    spend(tmp_path, 2, "ZWorker#1", 0.5)
    assert [threads.seconds() for _ in range(SCAN_EVERY)][-1] == pytest.approx(0.5)


def test_a_thread_that_cannot_be_read_once_is_not_counted_from_its_beginning_again(tmp_path):
    spend(tmp_path, 1, "ZWorker#0", 100.0)
    threads = CollectorThreads(7, tmp_path)
    threads.seconds()
    file = tmp_path / "7" / "task" / "1" / "schedstat"
    file.unlink()
    file.mkdir()  # an error, but not that of a thread that has ended
    assert threads.seconds() == 0.0
    file.rmdir()
    spend(tmp_path, 1, "ZWorker#0", 100.5)
    assert [threads.seconds() for _ in range(2 * SCAN_EVERY)][-1] == pytest.approx(0.5)


def test_a_process_without_threads_is_told(tmp_path):
    with pytest.raises(SensorError, match="is the JVM still running"):
        CollectorThreads(7, tmp_path).seconds()

"""Processes told apart, and one writer per resource."""

import os
import subprocess
import sys
from dataclasses import replace

import pytest

from quantum_control import SafetyError
from quantum_control.core.writer import ResourceLock, Writer, boot_id, resource_key

HOLD = """
import sys
from pathlib import Path
from quantum_control.core.writer import ResourceLock
lock = ResourceLock(Path(sys.argv[1]), "pool-1")
print("held", flush=True)
sys.stdin.read()
"""


def holder(folder):
    process = subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    return process


def ended(process):
    process.communicate()
    return process


def test_this_process_is_alive_and_one_that_ended_is_not():
    this = Writer.this()
    assert this.pid == os.getpid()
    assert this.alive
    gone = subprocess.Popen(["/bin/true"])
    gone.wait()
    assert not replace(this, pid=gone.pid).alive


def test_a_number_given_again_is_another_process():
    this = Writer.this()
    assert not replace(this, started=this.started + 1).alive


def test_a_process_of_another_boot_is_gone_whatever_its_number():
    this = Writer.this()
    assert this.this_boot
    assert boot_id()
    assert not replace(this, boot="another").alive


def test_a_zombie_does_not_count_as_alive():
    child = os.fork()
    if child == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)  # it is dead, and not yet waited for
        assert not Writer(child, 1, boot_id()).alive
    finally:
        os.waitpid(child, 0)


def test_what_is_steered_makes_the_key_not_how_far():
    key = resource_key("queue", {"interface": "eth0", "min_size": 1, "metric_source": "proc"})
    assert key == resource_key("queue", {"metric_source": "x", "interface": "eth0", "max_size": 9})
    assert key != resource_key("queue", {"interface": "eth1"})
    assert key != resource_key("buffer", {"interface": "eth0"})


def test_a_source_that_is_itself_what_is_steered_makes_the_key_without_who_asks():
    one = resource_key("memory", {"metric_source": "jmx://db-1:9010"})
    assert one != resource_key("memory", {"metric_source": "jmx://db-2:9010"})
    assert one != resource_key("memory", {"metric_source": "jmx://db-1:9011"})
    for other in ("?user=me&password=env:A", "/?user=you&password=env:B&tls=true"):
        assert one == resource_key("memory", {"metric_source": f"jmx://DB-1:9010{other}"})
    assert one == resource_key("memory", {"metric_source": "jmx://me:secret@db-1:9010"})
    assert one == resource_key("memory", {"metric_source": "jmx://db-1:9010", "max_heap": 9})
    local = resource_key("memory", {"process_id": 7})
    assert local == resource_key("memory", {"process_id": 7, "metric_source": "jmx://localhost:9010"})


def test_a_second_writer_is_refused_with_the_number_of_the_first(tmp_path):
    process = holder(tmp_path)
    try:
        with pytest.raises(SafetyError, match=rf"process {process.pid} steers this resource already"):
            ResourceLock(tmp_path, "pool-1")
        ResourceLock(tmp_path, "pool-2").release()
    finally:
        ended(process)


def test_a_lock_left_over_by_a_killed_process_is_taken_and_told(tmp_path):
    process = holder(tmp_path)
    process.kill()
    ended(process)
    lock = ResourceLock(tmp_path, "pool-1")
    assert lock.left_over is not None
    assert lock.left_over.pid == process.pid
    assert not lock.left_over.alive
    lock.release()
    lock.release()
    again = ResourceLock(tmp_path, "pool-1")
    assert again.left_over is None
    again.release()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b'{"pid": 1}', b"\xff" * 5000])
def test_garbage_in_a_lock_file_is_overwritten(tmp_path, content):
    (tmp_path / "pool-1.lock").write_bytes(content)
    lock = ResourceLock(tmp_path, "pool-1")
    assert lock.left_over is None
    lock.release()


def test_a_link_put_in_the_place_of_a_lock_is_not_followed(tmp_path):
    target = tmp_path / "precious"
    target.write_text("x", encoding="ascii")
    (tmp_path / "pool-1.lock").symlink_to(target)
    with pytest.raises(SafetyError, match="cannot be made"):
        ResourceLock(tmp_path, "pool-1")
    assert target.read_text(encoding="ascii") == "x"

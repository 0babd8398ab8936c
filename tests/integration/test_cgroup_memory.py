"""CgroupMemory on a real control group, with a process whose working set changes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from itertools import cycle
from pathlib import Path

import pytest
from integration.requirements import require

from quantum_control import MemoryResource, Outcome, QuantumController
from quantum_control.bench import memory_bed
from quantum_control.bench.memory_bed import WorkingSet
from quantum_control.bench.server_process import wait_until
from quantum_control.core.errors import ConfigError, GoneError
from quantum_control.resources.cgroup_memory import CgroupMemory
from quantum_control.sources.cgroups import FILES

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("kernel")]

MIB = 1 << 20
INTERVAL = 0.1

BURSTS = "import time\nwhile True:\n    held = b'x' * (96 << 20)\n    del held\n    time.sleep(0.02)"
"""A program that takes memory which is no file's, and gives it back, again and again."""


@pytest.fixture
def process():
    why = memory_bed.missing()
    require(not why, f"control groups cannot be made here: {why}")
    with WorkingSet(total=96, hot=96) as process:
        yield process


def usage(process):
    group = process.group
    name = "memory.usage_in_bytes" if group.version == 1 else "memory.current"
    return int((group.folder / name).read_text())


def limit(process):
    group = process.group
    return (group.folder / ("memory.limit_in_bytes" if group.version == 1 else "memory.high")).read_text()


def groups():
    """Of ours, wherever they are."""
    return [path for path in Path("/sys/fs/cgroup").glob("*/quantum_control-*") if path.is_dir()]


def left():
    return groups(), list(Path("/var/tmp").glob("quantum_control-*"))  # noqa: S108 - where its file is


def test_memory_that_is_not_needed_is_taken_and_given_back(process):
    found = limit(process)
    full = usage(process)
    process.resize(24)
    with QuantumController(CgroupMemory(process.pid), interval=INTERVAL) as controller:
        assert wait_until(lambda: usage(process) < 0.75 * full, seconds=60.0)
        process.resize(96)
        assert wait_until(lambda: usage(process) > 0.95 * full)
        assert controller.failures == 0
    assert limit(process) == found
    rounds = len(process.rounds)
    assert wait_until(lambda: len(process.rounds) > rounds)  # it lives


def test_the_front_finds_the_group_by_itself(process):
    resource = MemoryResource(process_id=process.pid)
    assert resource.control == "cgroup"
    resource.measure_state()
    resource.release()


def test_a_killed_controller_leaves_the_limit_as_it_was_found(process):
    if process.group.version == 2:
        pytest.skip("memory.high stands until the journal is played back")
    found = limit(process)
    script = (
        "import sys; from quantum_control import QuantumController;"
        "from quantum_control.resources.cgroup_memory import CgroupMemory;"
        f"c = QuantumController(CgroupMemory(int(sys.argv[1])), interval={INTERVAL}); c.start();"
        "print('on', flush=True); sys.stdin.read()"
    )
    full = usage(process)
    process.resize(24)
    with subprocess.Popen(  # noqa: S603 - our own program
        [sys.executable, "-c", script, str(process.pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as steering:
        assert steering.stdout.readline() == b"on\n"
        taken = wait_until(lambda: usage(process) < 0.9 * full, seconds=60.0)
        steering.send_signal(signal.SIGKILL)
    assert taken
    assert limit(process) == found


def test_bursts_of_memory_that_cannot_be_taken_kill_nobody_while_a_limit_is_set(process, monkeypatch):
    resource = CgroupMemory(process.pid)
    usual, below = resource._files.set, []

    def set_to(limit):
        below.append(limit != found)
        usual(limit)

    found = resource.snapshot()["setting"]
    monkeypatch.setattr(resource._files, "set", set_to)
    events = process.group.folder / ("memory.oom_control" if process.group.version == 1 else "memory.events")
    with subprocess.Popen([sys.executable, "-c", BURSTS]) as bursts, resource:  # noqa: S603 - our own program
        try:
            (process.group.folder / "cgroup.procs").write_text(str(bursts.pid))
            with QuantumController(resource, interval=INTERVAL / 5) as controller:
                until, sizes = time.monotonic() + 60.0, cycle((8, 96))
                while sum(below) < 3 and time.monotonic() < until:
                    process.resize(next(sizes))
                    time.sleep(0.8)
            assert controller.failures == 0
            assert sum(below) >= 3
            assert "oom_kill 0\n" in events.read_text()
            assert bursts.poll() is None
        finally:
            bursts.kill()


def test_a_process_that_ends_is_told_and_nothing_is_left(process):
    group = process.group
    resource = CgroupMemory(process.pid)
    controller = QuantumController(resource, interval=INTERVAL)
    assert controller.optimize().outcome is not Outcome.FAILED
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not (group.folder / "cgroup.procs").read_text())
    controller.optimize()
    assert controller.failures == 0  # the group is there yet
    for folder in (group.folder, group.pressure.parent):
        memory_bed._remove_group(folder)
    decision = controller.optimize()
    assert decision.outcome is Outcome.FAILED
    assert f"there is no control group {group.folder}" in decision.reasons[0]
    controller.stop(restore=False)
    resource.release()
    assert group.folder not in groups()


def test_a_group_that_outlasts_its_process_is_found_by_the_snapshot(process):
    """A journal has the process by whose id the group was found, and that one may have ended since."""
    resource = MemoryResource(process_id=process.pid)
    kept, group = resource.snapshot(), process.group
    resource.release()
    os.kill(process.pid, signal.SIGKILL)
    assert wait_until(lambda: not (group.folder / "cgroup.procs").read_text())
    again = MemoryResource.again({"process_id": process.pid}, kept)
    again.measure_state()
    again.restore(kept)
    assert limit_of(group) == str(kept["setting"])
    group.folder.rmdir()
    with pytest.raises(GoneError, match="no control group"):
        again.measure_state()
    with pytest.raises(GoneError, match="no control group"):
        MemoryResource.again({"process_id": process.pid}, kept)


def limit_of(group):
    return (group.folder / FILES[group.version][1]).read_text().strip()


WITHOUT_PRIVILEGE = """
import os, sys, time
from quantum_control.core.errors import ActuatorError
from quantum_control.resources.cgroup_memory import CgroupMemory
resource = CgroupMemory(int(sys.argv[1]))
os.setgroups([])
os.setresgid(65534, 65534, 65534)
os.setresuid(65534, 65534, 65534)
for _ in range(300):
    try:
        resource.measure_state()
        resource.apply_control(resource.min_size)
    except ActuatorError as error:
        print(error)
        break
    time.sleep(0.1)
resource.release()
"""


def test_without_the_privilege_it_says_what_is_missing_and_changes_nothing(process):
    found = limit(process)
    process.resize(24)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, "-c", WITHOUT_PRIVILEGE, str(process.pid)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stderr == ""
    assert "cannot be set to" in done.stdout
    assert "it takes root, or a group that is delegated to you" in done.stdout
    assert limit(process) == found


def test_a_process_in_the_root_group_is_refused():
    lines = Path("/proc/1/cgroup").read_text().splitlines()
    paths = {line.split(":")[1]: line.split(":")[2] for line in lines}
    if any(path != "/" for name, path in paths.items() if name in ("", "memory")):
        pytest.skip("process 1 has a group of its own here")
    with pytest.raises(ConfigError, match="no control group of its own"):
        CgroupMemory(1)


def test_nothing_is_left_behind_also_on_failure():
    why = memory_bed.missing()
    require(not why, f"control groups cannot be made here: {why}")
    before = left()
    process = WorkingSet(total=8, hot=8)
    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within(process)
    assert left() == before
    assert process.pid == 0 or not Path(f"/proc/{process.pid}").exists()


def fail_within(process):
    with process:
        assert process.group.folder in groups()
        raise RuntimeError("on purpose")


def test_a_process_that_cannot_start_leaves_nothing_behind(monkeypatch):
    why = memory_bed.missing()
    require(not why, f"control groups cannot be made here: {why}")
    before = groups()
    monkeypatch.setattr(memory_bed, "_READER", ("/bin/false",))
    with pytest.raises(ConfigError, match="did not start"), WorkingSet(total=1, hot=1):
        pass
    assert groups() == before


def test_the_machine_is_as_it_was(process):
    def settings():
        parents = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]
        names = (
            "memory.limit_in_bytes",
            "memory.soft_limit_in_bytes",
            "memory.swappiness",
            "cgroup.subtree_control",
        )
        return {
            file: file.read_text() for parent in parents for name in names if (file := parent / name).exists()
        }

    before = settings()
    with QuantumController(CgroupMemory(process.pid), interval=INTERVAL):
        time.sleep(10 * INTERVAL)
    assert settings() == before

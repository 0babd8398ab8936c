"""Real daemons on a machine that fails them: disks, clocks, another boot, few capabilities."""

# ruff: noqa: S603, S607 - commands of this file's own, found as an operator finds them

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from integration.requirements import require

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, controller, wait_for

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

PRIVATE = ("unshare", "--mount", "--propagation", "private", "sh", "-ec")
"""Runs a script with mounts of its own, which end with it; its arguments are the rest."""

SMALL_DISK = 'mount -t tmpfs -o size=4m tmpfs "$0"; exec "$@"'

FRAIL_DISK = 'mount -o loop,errors=remount-ro "$0.image" "$0"; exec "$@"'
"""Turns read-only at its first error, as most disks of servers do."""

ANOTHER_BOOT = 'mount --bind "$0" /proc/sys/kernel/random/boot_id; exec "$@"'


def size(path):
    return path.read_text(encoding="ascii")


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def alone():
    done = subprocess.run([*PRIVATE, "exit 0"], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"mounts of its own take root (CAP_SYS_ADMIN): {done.stderr}")


@pytest.fixture
def frail(place, alone):
    """A disk with a file system of its own, on which the state is; gone with the process that mounts it."""
    image = place.state.with_name(f"{place.state.name}.image")
    with image.open("wb") as file:
        file.truncate(8 << 20)
    done = subprocess.run(["mkfs.ext4", "-q", str(image)], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"mkfs.ext4 (package e2fsprogs): {done.stderr}")
    place.state.mkdir()
    script = FRAIL_DISK.replace('exec "$@"', "exit 0")
    done = subprocess.run([*PRIVATE, script, str(place.state)], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"a loop device is needed: {done.stderr}")
    yield (*PRIVATE, FRAIL_DISK, place.state)
    wait_for(
        lambda: (
            not subprocess.run(
                ["losetup", "-j", str(image)], capture_output=True, text=True, check=True
            ).stdout
        )
    )


def state_of(process, place):
    """The folder of the state as the daemon sees it."""
    return Path(f"/proc/{process.pid}/root{place.state}")


def break_disk(process, place):
    """Report an error of its file system to the kernel, which then takes no more writes."""
    mounts = Path(f"/proc/{process.pid}/mountinfo").read_text(encoding="utf-8").splitlines()
    (line,) = [line for line in mounts if line.split()[4] == str(place.state)]
    device = Path(line.partition(" - ")[2].split()[1]).name
    Path(f"/sys/fs/ext4/{device}/trigger_fs_error").write_text("1", encoding="ascii")
    with pytest.raises(OSError, match="Read-only"):
        (state_of(process, place) / "probe").touch()


def fill_disk(process, place):
    with (state_of(process, place) / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError as error:
            assert error.errno == errno.ENOSPC  # noqa: PT017 - any other is a fault of the test's


def goes_on(place, name):
    before = place.ask(do="status", resource=name)["changes"]
    wait_for(lambda: place.ask(do="status", resource=name)["changes"] > before + 10)


def steered_on(place, damage, process):
    """Let the disk fail under a daemon that steers `web`, and see what it does then."""
    for _ in range(4):
        goes_on(place, "web")
    damage(process, place)
    goes_on(place, "web")  # within the range of sizes that is on disk as its own
    place.ask(do="mode", resource="fresh", mode="active")
    wait_for(lambda: place.ask(do="status", resource="fresh")["failures"] > 2)
    assert size(place.folder / "fresh.size") == "10"  # what could not be kept is not changed
    wait_for(lambda: "steering goes on without" in place.log())  # the audit log


@pytest.mark.parametrize("how", ["killed", "stopped"])
@pytest.mark.parametrize("what", ["full", "read-only"])
def test_a_disk_that_fails_amid_steering_changes_nothing_anew_and_keeps_no_original(
    place, alone, request, what, how
):
    place.lively("web")
    place.lively("fresh", mode="shadow")
    place.write()
    if what == "full":
        place.state.mkdir()
        disk, damage = (*PRIVATE, SMALL_DISK, place.state), fill_disk
    else:
        disk, damage = request.getfixturevalue("frail"), break_disk
    with place.daemon(within=disk) as process:
        steered_on(place, damage, process)
        if how == "killed":
            os.kill(controller(process), signal.SIGKILL)
            assert process.wait(60) == 1
        else:
            process.terminate()
            # What is back and could not be struck out of the journal counts as not restored.
            assert process.wait(60) in (0, 3)
    assert size(place.folder / "web.size") == "10"
    assert size(place.folder / "fresh.size") == "10"
    assert "Traceback" not in place.log()


def test_on_a_disk_that_is_read_only_from_the_start_nothing_is_begun(place, alone):
    path = place.lively("web")
    place.write()
    place.state.mkdir()
    read_only = 'mount -t tmpfs -o ro tmpfs "$0"; exec "$@"'
    with place.daemon(ready=False, within=(*PRIVATE, read_only, place.state)) as process:
        assert process.wait(60) == 2
    assert "Traceback" not in place.log()
    assert "Read-only" in place.log() or "cannot be written" in place.log()
    assert size(path) == "10"


def test_after_a_restart_of_the_machine_there_is_nothing_to_restore(place, alone):
    path = place.lively("web")
    place.write()
    with place.daemon() as process:
        wait_for(lambda: size(path) != "10")
        child = controller(process)
        os.kill(process.pid, signal.SIGSTOP)  # so that it does not see the other die
        os.kill(child, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    left = size(path)
    other = place.folder / "boot_id"
    other.write_text("6e0b6bb9-0000-4000-8000-000000000000\n", encoding="ascii")
    done = place.command("restore", place.config, within=(*PRIVATE, ANOTHER_BOOT, other))
    assert "web: machine restarted" in done.stdout
    assert size(path) == left  # a machine that starts anew has it as it was; this one has not
    assert "nothing to restore" in place.command("restore", place.config).stdout


def test_steps_of_the_wall_clock_change_nothing(place):
    """One adapter sets its process's clock by ten years, forward and back, fifty times a second."""
    paths = [place.lively("web"), place.lively("jumpy", kind="stepping")]
    place.write()
    with place.daemon() as process:
        for _ in range(3):
            goes_on(place, "jumpy")
            goes_on(place, "web")
        assert place.ask(do="status", resource="web")["failures"] == 0
        process.terminate()
        assert process.wait(60) == 0
    assert [size(path) for path in paths] == ["10", "10"]
    assert "no sign of life" not in place.log()
    assert place.command("log", place.config, "--resource", "web").returncode == 0


WITHOUT = ("setpriv", "--bounding-set=-all", "--inh-caps=-all")


@pytest.fixture
def without():
    done = subprocess.run([*WITHOUT, "true"], capture_output=True, text=True, check=False)
    require(done.returncode == 0, f"setpriv (package util-linux) as root: {done.stderr}")


QUEUE = {"kind": "buffer", "mode": "active", "options": {"control": "queue", "interface": "lo"}}


def test_what_is_missing_is_told_by_name_and_resource(place, without):
    place.resources["loopback"] = QUEUE
    place.write()
    told = place.command("check", place.config, within=WITHOUT).stdout
    assert "loopback: steering it takes CAP_NET_ADMIN, which this process lacks" in told
    enough = ("setpriv", "--bounding-set=-all,+net_admin", "--inh-caps=-all")
    assert "lacks" not in place.command("check", place.config, within=enough).stdout


def test_a_daemon_without_any_capability_steers_what_takes_none_and_tells_of_the_rest(place, without):
    path = place.lively("web")
    place.resources["loopback"] = {**QUEUE, "options": {**QUEUE["options"], "parent": "root"}}
    place.write()
    with place.daemon(within=WITHOUT) as process:
        status = Path(f"/proc/{controller(process)}/status").read_text(encoding="ascii")
        assert int(status.partition("CapEff:")[2].split()[0], 16) == 0
        wait_for(lambda: size(path) != "10")
        wait_for(lambda: "loopback: this process lacks CAP_NET_ADMIN" in place.log())
        process.terminate()
        assert process.wait(60) == 0
    assert size(path) == "10"

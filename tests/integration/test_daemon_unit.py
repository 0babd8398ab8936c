"""The unit of systemd: run by a real systemd in namespaces of its own, and what the daemon tells it."""

# ruff: noqa: S603, S607 - commands of this file's own, found as an operator finds them

import os
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from integration.requirements import require

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import PATIENCE, Place, wait_for

from quantum_control.resources.socket_bpf import cgroup2_root

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300), pytest.mark.xdist_group("kernel")]

SOURCES = Path(__file__).parents[2]
UNIT = SOURCES / "packaging" / "quantum-control.service"

SYSTEMD = Path("/usr/lib/systemd/systemd")

BOOT = r"""
# What is mounted here is seen by nobody else and ends with this process. $1: an empty folder.
mount -t tmpfs tmpfs "$1"
mkdir "$1/etc" "$1/etc.work" "$1/var" "$1/var.work" "$1/units"
for each in etc var; do
    mount -t overlay overlay -o "lowerdir=/$each,upperdir=$1/$each,workdir=$1/$each.work" "/$each"
done
mount -t tmpfs -o mode=755 tmpfs /run
umount -l /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
# A systemd that boots sets figures of the kernel, which are the host's.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t tmpfs tmpfs /etc/systemd/system
mount -t tmpfs tmpfs /usr/lib/systemd/system-generators
for each in shutdown umount final sysinit basic network; do
    printf '[Unit]\nDefaultDependencies=no\n' > "$1/units/$each.target"
done
mount --bind "$1/units" /usr/lib/systemd/system
cp "$2" /etc/systemd/system/
mkdir -p /etc/quantum_control /etc/systemd/system/quantum-control.service.d
cp "$3" /etc/quantum_control/config.toml
cp "$4" /etc/systemd/system/quantum-control.service.d/test.conf
exec env -i container=test PATH="$PATH" \
    /usr/lib/systemd/systemd --system --unit=basic.target --log-target=null
"""


def size(path):
    return path.read_text(encoding="ascii")


class Machine:
    """A systemd as the first process of its namespaces, with the unit and a configuration in place."""

    def __init__(self, folder, config, settings):
        (folder / "root").mkdir()
        drop_in = folder / "test.conf"
        drop_in.write_text(settings, encoding="utf-8")
        self.group = cgroup2_root() / f"quantum-control-test-{os.getpid()}"
        self.group.mkdir()
        apart = (
            "--mount --pid --net --uts --ipc --cgroup --fork --mount-proc --kill-child --propagation private"
        )
        boot = ["sh", "-ec", BOOT, "sh", folder / "root", UNIT, config, drop_in]
        enter = ["sh", "-ec", 'echo $$ > "$0/cgroup.procs"; exec "$@"', self.group]
        self.process = subprocess.Popen(list(map(str, [*enter, "unshare", *apart.split(), *boot])))
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")

        def first():
            assert self.process.poll() is None
            found = children.read_text("ascii").split()
            return found and Path(f"/proc/{found[0]}/comm").read_text("ascii") == "systemd\n" and found[0]

        try:
            self.pid = int(wait_for(first))
            wait_for(lambda: self.run("systemctl", "is-active", "basic.target").stdout == "active\n")
        except BaseException:
            self.close()
            raise

    def run(self, *command):
        spaces = ("--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup")
        within = ["nsenter", "--target", str(self.pid), *spaces]
        return subprocess.run(
            [*within, *command], capture_output=True, text=True, timeout=PATIENCE, check=False
        )

    def show(self, name):
        return self.run("systemctl", "show", "quantum-control", "--value", "--property", name).stdout.strip()

    def close(self):
        self.process.kill()
        self.process.wait()
        wait_for(lambda: not (self.group / "cgroup.events").read_text("ascii").startswith("populated 1"))
        for folder, _, _ in os.walk(self.group, topdown=False):
            Path(folder).rmdir()


@pytest.fixture
def place(tmp_path):
    return Place(tmp_path)


@pytest.fixture
def machine(place):
    require(
        SYSTEMD.exists() and shutil.which("unshare"),
        "systemd and util-linux are needed (apt install systemd)",
    )
    require(os.geteuid() == 0, "namespaces for a systemd of its own take root")
    command = Path(sys.executable).parent / "quantum-control"
    require(command.exists(), "the command quantum-control is not installed beside this Python")
    del place.settings["state_directory"], place.settings["runtime_directory"]
    place.lively("web")
    place.write()
    settings = (
        "[Service]\n"
        f"Environment=PATH={command.parent}:/usr/bin:/bin PYTHONPATH={place.environment['PYTHONPATH']}\n"
        # The unit has a /tmp of its own, and the sources may be in this one.
        f"BindReadOnlyPaths={SOURCES} {sys.prefix}\nBindPaths={place.folder}\n"
        "ProtectHome=read-only\nWatchdogSec=3\nRestartSec=100ms\n"
    )
    machine = Machine(place.folder, place.config, settings)
    yield machine
    machine.close()
    assert not machine.group.exists()


def test_systemd_finds_no_fault_with_the_unit(tmp_path):
    require(shutil.which("systemd-analyze"), "systemd-analyze is needed (apt install systemd)")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(UNIT)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_unit_is_started_reloaded_watched_and_stopped_by_systemd(machine, place):
    path = place.folder / "web.size"
    started = machine.run("systemctl", "start", "quantum-control")
    assert started.returncode == 0, machine.run("systemctl", "status", "quantum-control").stdout
    assert machine.show("ActiveState") == "active"  # Type=notify: it has said that it is ready
    wait_for(lambda: size(path) != "10")

    main = machine.show("MainPID")
    status = machine.run("cat", f"/proc/{main}/status").stdout
    assert int(status.partition("CapEff:")[2].split()[0], 16) == 1 << 12 | 1 << 39  # NET_ADMIN and BPF
    assert "NoNewPrivs:\t1" in status

    assert machine.run("systemctl", "reload", "quantum-control").returncode == 0
    wait_for(lambda: machine.show("ActiveState") == "active")
    assert machine.show("MainPID") == main
    assert "steering; configuration of" in machine.show("StatusText")

    machine.run("kill", "-STOP", main)  # gives no sign of life: the watchdog ends and restarts it
    wait_for(lambda: machine.show("NRestarts") not in ("", "0"))
    wait_for(lambda: machine.show("ActiveState") == "active" and machine.show("MainPID") not in ("0", main))
    wait_for(lambda: size(path) != "10")

    assert machine.run("systemctl", "stop", "quantum-control").returncode == 0
    assert size(path) == "10"
    assert machine.show("Result") == "success"


def test_what_systemd_is_told_from_start_to_end(place):
    place.lively("web")
    place.write()
    address = place.folder / "notify"
    told = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as end:
        end.bind(str(address))
        end.settimeout(PATIENCE)
        place.environment["NOTIFY_SOCKET"] = str(address)

        def until(word):
            while not any(line.startswith(word) for line in told):
                told.extend(end.recv(4096).decode().splitlines())
            done = told[:]
            told.clear()
            return done

        with place.daemon() as process:
            until("READY=1")
            until("WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            assert not any(line.startswith("STOPPING") for line in until("RELOADING=1"))
            until("READY=1")
            process.terminate()
            until("STOPPING=1")
            assert process.wait(60) == 0

"""A running gunicorn from outside: its master, its workers, and signals to it, by /proc."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SensorError

PROC = Path("/proc")

HEARTBEAT = "wgunicorn-"
"""Beginning of the name of the file, deleted at once, by whose times a worker tells its master that it
lives (gunicorn, workers/workertmp.py). The worker and the master hold it; nobody else makes such files."""

TAKES = (signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU, signal.SIGUSR2)
"""What a master catches. A worker that has started catches neither the first nor the last of them."""

TAKEN_SECONDS = 2.0
"""For which a master is given the time to take a signal."""

POLL_SECONDS = 0.005


@dataclass(frozen=True, slots=True)
class Process:
    """A process at one instant."""

    pid: int
    parent: int
    inner: int
    """Its number in its own PID namespace."""
    started: int
    """Clock ticks from boot to its start."""
    catches: int
    """Mask of the signals that it catches."""
    pending: int
    """Mask of the signals that have been sent to it and that it has not taken yet."""
    stopped: bool
    """Whether it is stopped, or traced. SIGCONT throws away a SIGTTIN or SIGTTOU sent meanwhile."""

    def takes(self, number: int) -> bool:
        """Whether it catches a signal; SIGTTIN and SIGTTOU stop whoever does not."""
        return bool(self.catches >> (number - 1) & 1)

    @property
    def steerable(self) -> bool:
        """Whether it catches all that a master does."""
        return all(map(self.takes, TAKES))


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker process at one instant."""

    pid: int
    started: int
    """Clock ticks from boot to its start."""
    sockets: frozenset[int]
    """Inodes of its sockets."""
    beat: float
    """When it told last that it lives; seconds since 1970. A sync worker does before each request."""
    serves: bool
    """Whether it has begun to serve; before that it loads the application."""


@dataclass(frozen=True, slots=True)
class Crew:
    """The children of a master at one instant."""

    workers: tuple[Worker, ...]
    """Oldest first, which is the order in which gunicorn ends them."""
    successor: int
    """Process id of the master that this one has started to be replaced by (SIGUSR2); 0 if there is none."""


class Master:
    """The master process of a gunicorn.

    Raises
    ------
    SensorError
        There is no such process, or it may not be looked at.
    ConfigError
        It is no master of a gunicorn.
    """

    def __init__(self, pid: int, proc: Path = PROC) -> None:
        self.pid = pid
        self._proc = proc
        self._home = proc / str(pid)
        found = look(self._home)
        if found is None:
            raise GoneError(f"there is no process {pid}; is gunicorn running?")
        self.started = found.started
        beats = _files(self._home)[1].keys()
        above = look(proc / str(found.parent))
        # A worker that has just begun still catches what its master does.
        begun = above is not None and above.steerable and beats & _files(proc / str(above.pid))[1].keys()
        if beats and (begun or not found.steerable):
            raise ConfigError(
                f"process {pid} is a worker of gunicorn; its master is process {found.parent}: give that"
            )
        if not beats:
            raise ConfigError(f"process {pid} is no gunicorn master, or one without workers")

    @property
    def net(self) -> Path:
        """Folder with the tables of its network namespace."""
        return self._home / "net"

    @property
    def alive(self) -> bool:
        """Whether it is still there."""
        found = look(self._home)
        return found is not None and found.started == self.started

    def children(self) -> list[int]:
        """Process ids of its children.

        Raises
        ------
        SensorError
            It has ended.
        """
        self._found()
        pids: list[int] = []
        for task in _entries(self._home / "task"):
            try:
                pids += map(int, (task / "children").read_text("ascii").split())
            except OSError:
                continue  # a thread that has ended
        return pids

    def crew(self) -> Crew:
        """Its workers, and its successor if there is one.

        A worker is a child with a heartbeat of its own. Up to some version of gunicorn a worker also
        holds those of the ones that were there before it, hence from the oldest to the youngest.

        Raises
        ------
        SensorError
            It has ended, or its files or those of its workers may not be seen.
        """
        inner = self._found().inner
        children = [look(self._proc / str(pid)) for pid in self.children()]
        free = set(_files(self._home)[1])
        workers, successor = [], 0
        for child in sorted(filter(None, children), key=lambda each: (each.started, each.pid)):
            home = self._proc / str(child.pid)
            sockets, beats = _files(home)
            own = beats.keys() & free
            if own:
                free -= own
                beat = beats[min(own)]
                # The first sign of life sets the time of modification to that of another clock, up to
                # gunicorn 20 the permissions.
                serves = abs(beat.st_mtime - beat.st_ctime) > 1.0 or not beat.st_mode & 0o600
                workers.append(Worker(child.pid, child.started, sockets, beat.st_ctime, serves))
            elif _succeeds(home, inner):
                successor = child.pid
        return Crew(tuple(workers), successor)

    def processor_seconds(self, pid: int) -> float:
        """Seconds that a worker has run or has waited to run, all its threads together; 0 if it is gone."""
        total = 0
        for task in _entries(self._proc / str(pid) / "task"):
            try:
                ran, waited = (task / "schedstat").read_text("ascii").split()[:2]
            except (OSError, ValueError):
                continue
            total += int(ran) + int(waited)
        return total / 1e9

    def send(self, number: signal.Signals) -> None:
        """Send it SIGTTIN or SIGTTOU.

        Raises
        ------
        ActuatorError
            It has ended, does not take this signal, or may not be sent any.
        """
        what = f"sending {number.name} to gunicorn, process {self.pid}"
        try:
            handle = os.pidfd_open(self.pid)  # from here on it is this process, or none
            try:
                found = self._found()
                if not found.takes(number):
                    raise ActuatorError(f"{what}: it does not take it, and would be stopped by it")
                if found.stopped:
                    raise ActuatorError(f"{what}: it is stopped; SIGCONT lets it go on")
                signal.pidfd_send_signal(handle, number)
            finally:
                os.close(handle)
        except PermissionError as error:
            raise ActuatorError(f"{what}: not permitted; it takes the same user, or CAP_KILL") from error
        except (OSError, SensorError) as error:
            raise ActuatorError(f"{what}: {error}") from error

    def wait(self, number: signal.Signals, before: list[int], seconds: float) -> None:
        """Wait until it has taken a signal, and then until it has other children than `before`, if it will.

        Parameters
        ----------
        number
            The signal that was sent.
        before
            Its children, as `children()` has told them before that.
        seconds
            To wait for others.

        Raises
        ------
        ActuatorError
            It does not take the signal.
        SensorError
            It has ended.
        """
        began = time.monotonic()
        while self._found().pending >> (number - 1) & 1:
            if time.monotonic() - began > TAKEN_SECONDS:
                raise ActuatorError(f"{self} has not taken {number.name} within {TAKEN_SECONDS:g} s")
            time.sleep(POLL_SECONDS)
        began = time.monotonic()
        while time.monotonic() - began < seconds and self.children() == before:
            time.sleep(POLL_SECONDS)

    def _found(self) -> Process:
        found = look(self._home)
        if found is None or found.started != self.started:
            raise GoneError(f"gunicorn, process {self.pid}, has ended")
        return found

    def __repr__(self) -> str:
        return f"gunicorn {self.pid}"


def look(home: Path) -> Process | None:
    """What the kernel tells to everybody of the process with this folder; None if it is gone or dead."""
    try:
        # Behind the command, which may hold anything: state, parent, ... and, as the 20th, the start.
        state, parent, *rest = (home / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        status = (home / "status").read_text("utf-8", "replace")
    except (OSError, ValueError):
        return None
    if state in "ZX":
        return None
    told = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return Process(
        pid=int(home.name),
        parent=int(parent),
        inner=int(told.get("NSpid", home.name).split()[-1]),
        started=int(rest[17]),
        catches=int(told["SigCgt"], 16),
        pending=int(told["ShdPnd"], 16) | int(told["SigPnd"], 16),
        stopped=state in "Tt",
    )


def _files(home: Path) -> tuple[frozenset[int], dict[tuple[int, int], os.stat_result]]:
    """Inodes of a process's sockets, and its heartbeat files by device and inode; none if it is gone."""
    sockets, beats = set(), {}
    try:
        for each in home.joinpath("fd").iterdir():
            try:
                target = str(each.readlink())
                if target.startswith("socket:["):
                    sockets.add(int(target[8:-1]))
                elif target.rpartition("/")[2].startswith(HEARTBEAT):
                    status = each.stat()
                    beats[status.st_dev, status.st_ino] = status
            except FileNotFoundError:
                continue  # closed meanwhile
    except PermissionError as error:
        raise SensorError(
            f"the open files of process {home.name} may not be seen: it takes the same user,"
            " or CAP_SYS_PTRACE"
        ) from error
    except OSError:
        return frozenset(), {}
    return frozenset(sockets), beats


def _succeeds(home: Path, inner: int) -> bool:
    """Whether a child of the master with this number was started by SIGUSR2 to replace it."""
    try:
        return f"GUNICORN_PID={inner}".encode() in (home / "environ").read_bytes().split(b"\0")
    except OSError:
        return False


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []

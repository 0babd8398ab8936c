"""Sysctls of one network namespace: read, set with proof, and whose hand was on them last."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TypeVar

from quantum_control.core.errors import ActuatorError, GoneError, SensorError
from quantum_control.core.forked import Owner
from quantum_control.resources.netns import inside, netns_identity

T = TypeVar("T")

_log = logging.getLogger("quantum_control")

ROOT = Path("/proc/sys/net")
"""Where the sysctls of the network namespace of whoever opens them are."""

Values = dict[str, tuple[int, ...]]
"""The numbers of each sysctl, by its path under `net`: {"ipv4/tcp_rmem": (4096, 131072, 6291456)}."""


class Sysctls:
    """Some sysctls in our care.

    One that has other numbers than were set or found is somebody else's from
    then on: it is neither set nor restored, until it has our numbers again.

    Parameters
    ----------
    netns
        Name or path of the network namespace; None is the caller's own.
    names
        Paths under `net`; those that this namespace does not have are left out.
    root
        In place of /proc/sys/net.

    Raises
    ------
    GoneError
        There is no such namespace.
    SensorError
        It cannot be entered, or a sysctl cannot be read.
    """

    def __init__(
        self, netns: str | os.PathLike[str] | None, names: Iterable[str], *, root: Path = ROOT
    ) -> None:
        self.netns = netns
        self._root = root
        self._identity, (present, writable) = inside(netns, lambda: (netns_identity(), self._present(names)))
        self.fixed: frozenset[str] = frozenset(present) - writable
        """Those that the kernel shows to this namespace but does not let it set."""
        self.found: Values = self.inside(lambda: self.read(present))
        """Numbers as they were found."""
        self.foreign: set[str] = set()
        """Those that somebody else has changed."""
        self._ordered = dict(self.found)
        self._owner = Owner()

    @property
    def inherited(self) -> bool:
        """Whether this is a forked child's copy by which nothing was ordered there: its parent steers on."""
        return self._owner.elsewhere

    def inside(self, call: Callable[[], T]) -> T:
        """What `call` returns in the namespace.

        Raises
        ------
        GoneError
            It has ended, or another one has its name by now.
        SensorError
            It cannot be entered; and whatever `call` raises.
        """

        def work() -> T:
            if netns_identity() != self._identity:
                raise GoneError(
                    f"the network namespace {self.netns} is another one than the one that was steered;"
                    " make a new resource for it"
                )
            return call()

        return inside(self.netns, work)

    def read(self, names: Iterable[str] | None = None) -> Values:
        """Numbers now, for a caller that is in the namespace.

        Raises
        ------
        SensorError
            One cannot be read.
        """
        values: Values = {}
        for name in self.found if names is None else names:
            try:
                values[name] = tuple(map(int, (self._root / name).read_text().split()))
            except (OSError, ValueError) as error:
                raise SensorError(f"reading {_dotted(name)}: {error}") from error
        return values

    def notice(self, values: Values) -> None:
        """Compare what is in force with what was set, and log what somebody else has changed.

        What cannot be set from here is not in our care, whoever changes it.
        """
        for name, numbers in values.items():
            if name in self.fixed:
                continue
            if numbers == self._ordered[name]:
                self.foreign.discard(name)
            elif name not in self.foreign:
                self.foreign.add(name)
                _log.warning(
                    "%s is %s, not %s: somebody else has changed it; it is left alone until it is that again",
                    _dotted(name),
                    _text(numbers),
                    _text(self._ordered[name]),
                )

    def order(self, wanted: Values) -> None:
        """Set those in our care, all or none, and read them back.

        Raises
        ------
        ActuatorError
            The privilege is missing, the kernel refuses a number, or the
            namespace is gone. Those set before were put back.
        """
        self._owner.claim()
        try:
            self.inside(lambda: self._order(wanted))
        except SensorError as error:
            raise ActuatorError(f"setting socket buffers: {error}") from error

    def restore(self) -> None:
        """Put back what was found, but for what somebody else has changed.

        Of a namespace that is gone there is nothing to put back.

        Raises
        ------
        ActuatorError
            As `order`.
        """
        self.restore_from(self.snapshot())

    def snapshot(self) -> dict[str, object]:
        """What was found, to be kept as JSON."""
        return {"identity": self._identity, "found": {name: list(self.found[name]) for name in self.found}}

    def restore_from(self, snapshot: Mapping[str, object]) -> None:
        """Put back what was found here, as `restore` does, or by another process.

        What another process had found is put back whoever has set what is there now:
        which of it that process had set is not known.

        Raises
        ------
        ActuatorError
            As `order`; or the snapshot is not one.
        """
        try:
            self.recognize(snapshot)
            in_force = self.inside(self.read)
        except GoneError as error:
            _log.warning("%s; nothing of it can be restored", error)
            return
        except SensorError as error:
            raise ActuatorError(f"restoring socket buffers: {error}") from error
        found = snapshot.get("found")
        if not isinstance(found, Mapping):
            raise ActuatorError(f"no snapshot of sysctls: {dict(snapshot)!r}")
        wanted = self.found | {name: tuple(found[name]) for name in self.found if name in found}
        if wanted != self.found:
            self.foreign.clear()
            self._ordered, self.found = in_force, wanted
        self.order(wanted)

    def recognize(self, snapshot: Mapping[str, object]) -> None:
        """Make sure that the snapshot is of this namespace, and that it is still there.

        Raises
        ------
        GoneError
            It is not.
        SensorError
            It cannot be entered.
        """
        if snapshot.get("identity") != self._identity:
            raise GoneError(f"the network namespace {self.netns} is another one than that of the snapshot")
        self.inside(lambda: None)

    def _order(self, wanted: Values) -> None:
        before = self.read()
        self.notice(before)
        done: list[str] = []
        try:
            for name, numbers in wanted.items():
                if name in self.foreign or name in self.fixed or before[name] == numbers:
                    continue
                done.append(name)
                self._set(name, numbers)
        except (ActuatorError, SensorError):  # the latter where it cannot be read back
            for name in done:
                self._set_back(name, before[name])
            raise
        for name in done:
            self._ordered[name] = wanted[name]

    def _set(self, name: str, numbers: tuple[int, ...]) -> None:
        try:
            (self._root / name).write_text(_text(numbers))
        except PermissionError as error:
            raise ActuatorError(
                f"setting {_dotted(name)}: {error.strerror}; it needs root, or CAP_NET_ADMIN in the"
                " namespace, and a /proc/sys that is not read-only"
            ) from error
        except OSError as error:
            raise ActuatorError(f"setting {_dotted(name)} to {_text(numbers)}: {error.strerror}") from error
        taken = self.read([name])[name]
        if taken != numbers:
            raise ActuatorError(f"{_dotted(name)} was set to {_text(numbers)} but is {_text(taken)}")

    def _set_back(self, name: str, numbers: tuple[int, ...]) -> None:
        try:
            self._set(name, numbers)
        except (ActuatorError, SensorError) as error:
            _log.error("%s could not be put back to %s: %s", _dotted(name), _text(numbers), error)

    def _present(self, names: Iterable[str]) -> tuple[list[str], frozenset[str]]:
        """Those there are, and those of them that may be set by whoever has the privilege."""
        present = [name for name in names if (self._root / name).exists()]
        settable = (name for name in present if (self._root / name).stat().st_mode & 0o222)
        return present, frozenset(settable)


def _dotted(name: str) -> str:
    return f"net.{name.replace('/', '.')}"


def _text(numbers: tuple[int, ...]) -> str:
    return " ".join(map(str, numbers))

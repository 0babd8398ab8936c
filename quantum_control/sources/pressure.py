"""Pressure stall information (PSI): how much of the time work stood still for want of memory."""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass
from pathlib import Path

from quantum_control.core.errors import SensorError


@dataclass(frozen=True, slots=True)
class Stalled:
    """Time for which work has stood still so far."""

    some: float
    """Seconds in which at least one task waited."""
    full: float
    """Seconds in which no task did anything else; 0 where the kernel does not tell."""


class Pressure:
    """A pressure file: `/proc/pressure/memory`, or `memory.pressure` of a control group v2.

    See https://docs.kernel.org/accounting/psi.html.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def read(self) -> Stalled:
        """Return the totals; the difference of two over the time between is the share that stalled.

        Raises
        ------
        SensorError
            There is no such file, or the kernel does not account for pressure.
        """
        try:
            lines = self.path.read_text(encoding="ascii").splitlines()
        except OSError as error:
            raise SensorError(f"the pressure in {self.path} cannot be read: {_why(error)}") from error
        try:
            totals = {kind: int(rest.rpartition("total=")[2]) * 1e-6 for kind, _, rest in map(_split, lines)}
            return Stalled(totals["some"], totals.get("full", 0.0))
        except (KeyError, ValueError) as error:
            raise SensorError(f"{self.path} is no pressure file: {lines[:1]!r}") from error


def _split(line: str) -> tuple[str, str, str]:
    return line.partition(" ")


def _why(error: OSError) -> str:
    if error.errno == errno.EOPNOTSUPP:
        return "pressure accounting is switched off; start the kernel with psi=1"
    if error.errno == errno.ENOENT and not Path("/proc/pressure").is_dir():
        return "this kernel has no pressure accounting (CONFIG_PSI), or it was started with psi=0"
    if error.errno == errno.ENOENT:
        return "the control group is gone, or its pressure accounting is off (cgroup.pressure)"
    return error.strerror or str(error)

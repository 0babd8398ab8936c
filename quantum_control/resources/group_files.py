"""The files of a control group's memory."""

from __future__ import annotations

import errno
from pathlib import Path

from quantum_control.core.errors import ActuatorError, GoneError, SensorError
from quantum_control.sources.cgroups import FILES, MemoryGroup


class GroupFiles:
    """Reads and sets the memory of a control group, of either version."""

    def __init__(self, group: MemoryGroup) -> None:
        self._folder = group.folder
        usage, limit = FILES[group.version]
        self._usage, self.limit = group.folder / usage, group.folder / limit

    def usage(self) -> int:
        """Bytes charged to the group; raises as `setting`."""
        return int(self._read(self._usage))

    def stat(self) -> dict[str, int]:
        """What `memory.stat` tells; raises as `setting`."""
        lines = self._read(self._folder / "memory.stat").splitlines()
        return {name: int(value) for name, _, value in (line.partition(" ") for line in lines)}

    def setting(self) -> str:
        """The limit as the kernel writes it: a number or "max".

        Raises
        ------
        GoneError
            The group is gone.
        SensorError
            It may not be read.
        """
        return self._read(self.limit)

    def set(self, value: str) -> None:
        """Set the limit; one of version 1 stays where the kernel cannot take so much.

        Raises
        ------
        ActuatorError
            It may not be set.
        """
        try:
            self.limit.write_text(value, encoding="ascii")
        except OSError as error:
            if error.errno == errno.EBUSY:  # version 1: so much cannot be taken, and nothing has changed
                return
            refused = error.errno in (errno.EPERM, errno.EACCES, errno.EROFS)
            hint = "; it takes root, or a group that is delegated to you" if refused else ""
            raise ActuatorError(f"{self.limit} cannot be set to {value}: {error.strerror}{hint}") from error

    def _read(self, path: Path) -> str:
        try:
            return path.read_text(encoding="ascii").strip()
        except OSError as error:
            if not self._folder.exists():
                raise GoneError(f"there is no control group {self._folder} any more") from error
            raise SensorError(f"{path} cannot be read ({error.strerror}): is it a group's?") from error

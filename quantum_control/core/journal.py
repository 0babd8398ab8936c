"""What each resource was before the first change, on disk before that change is made."""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError
from quantum_control.core.writer import Writer, resource_key

VERSION = 1

BUSY_SECONDS = 5.0
"""How long another process may hold the journal before it counts as stuck; its writes take milliseconds."""

SYNCED = "FULL"
"""A commit is on disk when it returns: for what must survive the loss of power."""
UNSYNCED = "NORMAL"
"""A commit survives the death of the process, not of the machine (SQLite, "PRAGMA synchronous")."""

_TABLE = """
CREATE TABLE IF NOT EXISTS originals (
    key TEXT PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL, options TEXT NOT NULL,
    size INTEGER NOT NULL, snapshot TEXT, outlives_boot INTEGER NOT NULL, ours TEXT NOT NULL,
    pid INTEGER NOT NULL, started INTEGER NOT NULL, boot TEXT NOT NULL, taken REAL NOT NULL
) STRICT
"""


@dataclass(frozen=True, slots=True)
class Original:
    """One resource as it was found, and how a fresh process gets hold of it again."""

    name: str
    """What people call it."""
    kind: str
    """Name of its type among the plug-ins of `quantum_control.resources`."""
    options: Mapping[str, object] = field(repr=False)
    """Arguments of that type; JSON. May hold a password, as in a connection string: in no `repr`."""
    size: int
    """Size found, in the resource's unit."""
    writer: Writer
    """Who changed it."""
    snapshot: Mapping[str, object] | None = None
    """The whole setting found, where the resource has more than its size to put back; JSON."""
    outlives_boot: bool = False
    """Whether what is set is still set after the machine has started anew, as in a file or on
    another machine."""
    ours: tuple[int, int] | None = None
    """Least and largest size that was ever ordered or came of an order; None before the first. A range,
    so that most orders need not be written down."""
    taken: float = 0.0
    """When it was found; seconds since 1970."""

    @property
    def key(self) -> str:
        """What is steered; the same for all who steer the same."""
        return resource_key(self.kind, self.options)

    def left_by_us(self, size: float) -> bool:
        """Whether `size`, found in force, may have come of an order of ours."""
        low, high = self.ours or (self.size, self.size)
        return min(low, self.size) - 1 < size < max(high, self.size) + 1


class Journal:
    """A database of originals. Safe against kill -9 and loss of power at any moment.

    `keep` returns when the original is on disk; only then may the first change
    be made. May be used from several threads and processes.

    Parameters
    ----------
    path
        The file; its folder must exist. Only its owner may read it.

    Raises
    ------
    ConfigError
        It cannot be opened or written, or is not one of ours.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._lock = threading.Lock()
        self._closed = False
        try:
            if not self.path.is_file():  # one that is there may be on a disk that is read-only by now
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # None: transactions begin and end where we say so.
            self._base = sqlite3.connect(
                self.path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(f"{self} cannot be opened: {error}") from error
        try:
            self._prepare()
        except sqlite3.Error as error:
            self._base.close()
            raise ConfigError(
                f"{self} cannot be used: {error}. If it is damaged, see what is to be restored by hand, then "
                "move it away"
            ) from error
        except BaseException:
            self._base.close()
            raise

    def keep(self, original: Original) -> None:
        """Write an original down, and return when it is on disk.

        Raises
        ------
        SafetyError
            One of the same resource is there, from a process that did not put it back.
        ActuatorError
            It could not be written: the resource must not be changed.
        """
        try:
            with self._transaction(SYNCED) as base:
                there = base.execute("SELECT pid FROM originals WHERE key = ?", (original.key,)).fetchone()
                if there is not None:
                    raise SafetyError(
                        f"{original.name} was changed by process {there[0]} and is not restored yet: "
                        "`quantum-control restore` does that"
                    )
                base.execute(
                    "INSERT INTO originals VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", _row(original)
                )
        except (sqlite3.Error, TypeError, ValueError, OverflowError) as error:
            raise ActuatorError(
                f"the original of {original.name} could not be written to {self}: {error};"
                " it is left as it is"
            ) from error

    def renew(self, original: Original) -> None:
        """Write the snapshot of an original that is kept down anew, and return when it is on disk.

        Raises
        ------
        ActuatorError
            It could not be written: what was found since the last must not be changed.
        """
        try:
            with self._transaction(SYNCED) as base:
                base.execute(
                    "UPDATE originals SET snapshot = ? WHERE key = ?", (_snapshot(original), original.key)
                )
        except (sqlite3.Error, TypeError, ValueError) as error:
            raise ActuatorError(
                f"what was found since of {original.name} could not be written to {self}: {error};"
                " it is left as it is"
            ) from error

    def ours(self, key: str, sizes: tuple[int, int]) -> None:
        """Note the range of sizes that are ours, before one beyond it is ordered.

        Of what outlives a restart of the machine it is on disk then: else a size of ours would be taken
        for somebody else's after a loss of power, and left.

        Raises
        ------
        ActuatorError
            It could not be written: the order must not be given.
        """
        try:
            with self._transaction(self._synchronous(key)) as base:
                base.execute("UPDATE originals SET ours = ? WHERE key = ?", (json.dumps(sizes), key))
        except sqlite3.Error as error:
            raise ActuatorError(
                f"the order could not be written to {self}, so it is not given: {error}"
            ) from error

    def forget(self, original: Original) -> None:
        """Strike out an original that was put back, unless another writer has kept one since.

        Raises
        ------
        ActuatorError
            It could not be written; the original is kept, which does no harm.
        """
        try:
            writer = original.writer
            with self._transaction(self._synchronous(original.key)) as base:
                base.execute(
                    "DELETE FROM originals WHERE key = ? AND pid = ? AND started = ? AND boot = ?",
                    (original.key, writer.pid, writer.started, writer.boot),
                )
        except sqlite3.Error as error:
            raise ActuatorError(f"{self} could not be written: {error}") from error

    def originals(self, key: str | None = None) -> list[Original]:
        """Return what is not restored yet, oldest first; with a `key`, of that resource alone.

        Raises
        ------
        ConfigError
            The journal is damaged.
        """
        try:
            with self._lock:
                rows = self._base.execute(
                    "SELECT * FROM originals WHERE ?1 IS NULL OR key = ?1 ORDER BY taken, key", (key,)
                ).fetchall()
            return [_original(row) for row in rows]
        except (sqlite3.Error, ValueError, TypeError) as error:
            raise ConfigError(f"{self} is damaged: {error}") from error

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        with self._lock:
            self._base.close()
            self._closed = True

    def _prepare(self) -> None:
        base = self._base
        version = base.execute("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ConfigError(f"{self} is of version {version}, not {VERSION}; move it away")
        if version == VERSION:
            return  # nothing is written: the way back must be open on a full disk, or one that is read-only
        base.execute("PRAGMA journal_mode = WAL")
        with self._transaction(SYNCED):
            base.execute(_TABLE)
            base.execute(f"PRAGMA user_version = {VERSION}")

    def _synchronous(self, key: str) -> str:
        """How a change to an original is committed: what matters after a loss of power is synced."""
        with self._lock:
            row = self._base.execute("SELECT outlives_boot FROM originals WHERE key = ?", (key,)).fetchone()
        return SYNCED if row is not None and row[0] else UNSYNCED

    @contextmanager
    def _transaction(self, synchronous: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            base = self._base
            base.execute(f"PRAGMA synchronous = {synchronous}")
            base.execute("BEGIN IMMEDIATE")
            try:
                yield base
                base.execute("COMMIT")
            except BaseException:
                if base.in_transaction:
                    base.execute("ROLLBACK")
                raise

    def __str__(self) -> str:
        return f"journal {str(self.path)!r}"


def _row(original: Original) -> tuple[Any, ...]:
    writer = original.writer
    ours = json.dumps(original.ours)
    return (
        *(original.key, original.name, original.kind, json.dumps(dict(original.options))),
        *(original.size, _snapshot(original), original.outlives_boot, ours),
        *(writer.pid, writer.started, writer.boot, original.taken),
    )


def _snapshot(original: Original) -> str | None:
    return None if original.snapshot is None else json.dumps(dict(original.snapshot))


def _original(row: tuple[Any, ...]) -> Original:
    _, name, kind, options, size, snapshot, outlives_boot, ours_text, pid, started, boot, taken = row
    ours = json.loads(ours_text)
    return Original(
        name,
        kind,
        json.loads(options),
        size,
        Writer(pid, started, boot),
        None if snapshot is None else json.loads(snapshot),
        bool(outlives_boot),
        None if ours is None else (ours[0], ours[1]),
        taken,
    )

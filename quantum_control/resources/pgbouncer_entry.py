"""The pool size in the entry of one database in PgBouncer's configuration file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.resources.pgbouncer_size import Console, read_back
from quantum_control.resources.whole_file import replace_file

SECTION = re.compile(r"^\s*\[(?P<name>[^\]]*)\]", re.MULTILINE)
WORD = re.compile(r"(?P<key>\w+)\s*=\s*(?P<value>'(?:[^']|'')*'|[^\s']*)")
"""`key=value` of an entry; a value in quotes may hold anything."""


class EntrySize:
    """`pool_size` in the entry of one database in PgBouncer's configuration file, taken up by RELOAD.

    A RELOAD also takes up whatever else was edited in the file since the last
    one, and ends what was `SET` at the console. The entry has to be in the
    file itself, not in one that it includes.

    Parameters
    ----------
    path
        The file that PgBouncer was started with; this process must be able to
        replace it.

    Raises
    ------
    ConfigError
        The file cannot be read, or has no such entry.
    """

    def __init__(self, console: Console, database: str, path: str) -> None:
        self._console = console
        self._database = database
        self._path = Path(path)
        self.found = self.read()
        try:
            self._own = self._value(self._text())  # as written in the file; None if it was not
        except ActuatorError as error:
            raise ConfigError(str(error)) from error

    def read(self) -> int:
        """Size in force for the database."""
        return self._console.of_database(self._database)

    def write(self, size: int) -> None:
        """Put the size into the entry, have PgBouncer reload, and read it back."""
        self._put(self._own if size == self.found else str(size), size)

    def databases(self, size: int) -> dict[str, int]:  # noqa: ARG002 - whatever it is
        """Give the one database; each of its users has a pool of this size."""
        return {self._database: self._console.reserve(self._database)}

    def snapshot(self) -> dict[str, object]:
        """Size found, and how it was written in the entry (None: not at all)."""
        return {"size": self.found, "written": self._own}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Write the entry as it was."""
        written = snapshot.get("written")
        self._put(None if written is None else str(written), int(str(snapshot["size"])))

    def _put(self, written: str | None, size: int) -> None:
        before = self._text()
        # A size that was edited in the file and not taken up comes into force as the entry is put back.
        told = (written or "").strip("'")
        size = int(told) if told.isdecimal() else size
        self._replace(self._with(before, written))
        try:
            self._console.order("RELOAD")
            taken = read_back(size, self.read)
            if written is not None and taken != size:
                raise ActuatorError(  # noqa: TRY301 - undone as any other failure
                    f"PgBouncer has reloaded but database {self._database!r} has pool_size {taken}, not"
                    f" {size}: is {self._path} the file that it was started with?"
                )
        except ActuatorError as error:
            self._replace(before)
            try:
                self._console.order("RELOAD")
            except ActuatorError as again:
                raise ActuatorError(
                    f"{error}; the file is as it was, and is taken up with the next RELOAD"
                ) from again
            raise ActuatorError(f"{error}; the file is as it was") from error
        except BaseException:
            # Of a signal's handler. Whoever puts back looks at what is in force, which may not be ours yet.
            self._replace(before)
            raise

    def _text(self) -> str:
        try:
            # Bytes that are no UTF-8 come back as they were.
            return self._path.read_bytes().decode("utf-8", "surrogateescape")
        except OSError as error:
            raise ActuatorError(f"PgBouncer's configuration cannot be read: {error}") from error

    def _replace(self, text: str) -> None:
        try:
            replace_file(self._path, text.encode("utf-8", "surrogateescape"))
        except OSError as error:
            raise ActuatorError(
                f"PgBouncer's configuration cannot be replaced: {error}. It is as it was; its directory has"
                " to be writable for this process"
            ) from error

    def _entry(self, text: str) -> re.Match[str]:
        """Value of the database's line, the last of the section as PgBouncer sees it."""
        name = re.escape(self._database)
        line = re.compile(rf'^[ \t]*("?){name}\1[ \t]*=(?P<value>[^\r\n]*)', re.MULTILINE)
        starts = [(match["name"], match.end()) for match in SECTION.finditer(text)]
        ends = [*(match.start() for match in SECTION.finditer(text)), len(text)][1:]
        found = [
            match
            for (section, start), end in zip(starts, ends, strict=True)
            if section == "databases"
            for match in line.finditer(text, start, end)
        ]
        if not found:
            raise ActuatorError(
                f"{self._path} has no entry of database {self._database!r} in [databases]; entries of files"
                " that it includes, and *, cannot be steered"
            )
        return found[-1]

    def _value(self, text: str) -> str | None:
        words = WORD.finditer(self._entry(text)["value"])
        return next((word["value"] for word in words if word["key"] == "pool_size"), None)

    def _with(self, text: str, written: str | None) -> str:
        """`text` with this pool_size in the entry; None takes out one that was added at its end."""
        entry = self._entry(text)
        value = entry["value"]
        word = next((word for word in WORD.finditer(value) if word["key"] == "pool_size"), None)
        if word is None:
            value = value if written is None else f"{value} pool_size={written}"
        elif written is None:
            value = value[: word.start()].removesuffix(" ") + value[word.end() :]
        else:
            value = value[: word.start("value")] + written + value[word.end("value") :]
        return text[: entry.start("value")] + value + text[entry.end("value") :]

"""PgBouncer's default pool size, and the console by which it is read and set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.libpq import Session, SessionError

ADMIN_DATABASE = "pgbouncer"

Row = dict[str, str | None]


class PoolSize(Protocol):
    """A place where the size of pools is read and set."""

    def read(self) -> int:
        """Size in force. Raises `SensorError`."""

    def write(self, size: int) -> None:
        """Set it and see that it is in force, or leave it as it was. Raises `ActuatorError`."""

    def databases(self, size: int) -> dict[str, int]:
        """Databases whose pools have this size, as read, each, looked at or not, and what each may add to it.

        That is the reserve: connections that PgBouncer opens past the size for
        clients that wait for long. Raises `SensorError`.
        """

    def snapshot(self) -> dict[str, object]:
        """All that was found here; JSON."""

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put back what `snapshot()` has said, of another process too. Raises `ActuatorError`."""


class Console:
    """Questions to an admin console whose answers must have certain columns."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def ask(self, statement: str) -> list[Row]:
        """Rows of the answer.

        Raises
        ------
        SensorError
            There is none.
        """
        try:
            return self.session.query(statement)
        except SessionError as error:
            raise SensorError(f"PgBouncer's admin console: {error}") from None

    def rows(self, statement: str, columns: tuple[str, ...]) -> list[Row]:
        """Rows of the answer, with these columns among them.

        Raises
        ------
        SensorError
            There is no answer, or it is of an unknown version.
        """
        rows = self.ask(statement)
        missing = [name for name in columns if rows and name not in rows[0]]
        if missing:
            raise self.unknown(f"{statement} has no {', '.join(missing)}")
        return rows

    def order(self, statement: str) -> None:
        """Have something done.

        Raises
        ------
        ActuatorError
            It was refused, or the console is gone.
        """
        try:
            self.session.query(statement)
        except SessionError as error:
            hint = "; the user has to be among PgBouncer's admin_users" if error.refused else ""
            raise ActuatorError(f"setting PgBouncer's pool size: {error}{hint}") from None

    def default(self) -> int:
        """`default_pool_size`."""
        for row in self.rows("SHOW CONFIG", ("key", "value")):
            if row["key"] == "default_pool_size":
                return number(row, "value")
        raise self.unknown("SHOW CONFIG has no default_pool_size")

    def of_database(self, database: str) -> int:
        """Size of the pools of a database, its own or the default.

        Raises
        ------
        ConfigError
            There is no such database.
        """
        known = self.rows("SHOW DATABASES", ("name", "pool_size"))
        for row in known:
            if row["name"] == database:
                return self.default() if row["pool_size"] is None else number(row, "pool_size")
        names = ", ".join(str(row["name"]) for row in known if row["name"] != ADMIN_DATABASE)
        raise ConfigError(f"PgBouncer knows no database {database!r}; it has: {names or 'none'}")

    def of_size(self, size: int) -> dict[str, int]:
        """Databases whose pools have this size, and the reserve on top of it."""
        rows = self.rows("SHOW DATABASES", ("name", "pool_size"))
        return {
            str(row["name"]): _reserve(row)
            for row in rows
            if row["pool_size"] in (None, str(size)) and row["name"] != ADMIN_DATABASE
        }

    def reserve(self, database: str) -> int:
        """Connections that the pools of a database may have on top of their size."""
        rows = self.rows("SHOW DATABASES", ("name",))
        return next((_reserve(row) for row in rows if row["name"] == database), 0)

    def unknown(self, what: str) -> SensorError:
        """Error that says of which version the console is."""
        try:
            answer = self.session.query("SHOW VERSION")
            version = next(iter(answer[0].values())) if answer else None
        except SessionError:
            version = None
        return SensorError(
            f"{what} at {self.session.where}, which calls itself {version}; 1.8 to 1.25 are known here"
        )


class DefaultSize:
    """`default_pool_size`, for every pool whose database has no `pool_size` of its own.

    Set while PgBouncer runs; its restart or a RELOAD brings back what the file says.

    Raises
    ------
    ConfigError
        The database has a size of its own.
    """

    def __init__(self, console: Console, database: str | None) -> None:
        self._console = console
        self._database = database
        self.found = self.read()
        if database is not None and (own := console.of_database(database)) != self.found:
            raise ConfigError(_own(database, own))

    def read(self) -> int:
        """`default_pool_size` in force."""
        return self._console.default()

    def write(self, size: int) -> None:
        """Set `default_pool_size` and read back what the database has."""
        before = read_back(size, self.read)
        self._console.order(f"SET default_pool_size = {size}")
        taken = read_back(size, self.read)
        if taken != size:
            raise ActuatorError(
                f"PgBouncer answered SET default_pool_size = {size} but has {taken}; is another program"
                " setting it?"
            )
        database = self._database
        if database is not None and (own := read_back(size, self._of_database)) != size:
            # The same number as the default until now: it was not to be told from it.
            self._console.order(f"SET default_pool_size = {before}")
            raise ActuatorError(f"{_own(database, own)}; the default is {before} again")

    def databases(self, size: int) -> dict[str, int]:
        """Databases with this size: all but those with another of their own."""
        return self._console.of_size(size)

    def snapshot(self) -> dict[str, object]:
        """The default as found."""
        return {"size": self.found}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Set the default that was found."""
        self.write(int(str(snapshot["size"])))

    def _of_database(self) -> int:
        return self._console.of_database(str(self._database))


def number(row: Row, name: str) -> int:
    """Read a number of a row.

    Raises
    ------
    SensorError
        It is none.
    """
    value = row[name]
    try:
        return int(value or 0)
    except ValueError:
        raise SensorError(f"PgBouncer's admin console: {name} is {value!r}, not a number") from None


def _reserve(row: Row) -> int:
    # As PgBouncer calls it since 1.24, and before.
    return next((number(row, name) for name in ("reserve_pool_size", "reserve_pool") if name in row), 0)


def read_back(size: int, read: Callable[[], int]) -> int:
    """Read a size that was just set.

    Raises
    ------
    ActuatorError
        It cannot be read.
    """
    try:
        return read()
    except (ConfigError, SensorError) as error:
        raise ActuatorError(f"the pool size {size} was sent but cannot be read back: {error}") from None


def _own(database: str, size: int) -> str:
    return (
        f"database {database!r} has pool_size={size} of its own in PgBouncer's configuration, which"
        " default_pool_size does not reach; give config=, the path of that file, or remove it there and"
        " RELOAD"
    )

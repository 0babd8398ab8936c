"""A session with PostgreSQL or PgBouncer in which nothing waits without end and no secret gets out."""

from __future__ import annotations

import os
import selectors
import threading
import time
from collections.abc import Mapping
from math import ceil
from typing import NoReturn

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.core.forked import forget_in_child
from quantum_control.core.loopback import is_loopback

TIMEOUT = 3.0
"""Seconds for a connection, and for an answer; an admin console answers within milliseconds."""

HIDDEN = "***"

_GOOD = (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK)


class SessionError(QuantumControlError):
    """The server is gone, does not answer, or answers with an error."""

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused
        """Whether the server is there and said no, so that the session goes on."""


class Session:
    """Statements by the simple protocol, each with a deadline; connects when first used, and again.

    Threads that ask at once take turns. A forked child opens a connection of its own.

    Parameters
    ----------
    dsn
        A libpq connection string or URI. What it leaves out libpq finds in its
        own ways: `PGPASSWORD`, `PGPASSFILE`, `~/.pgpass`, `PGSERVICE` and so on.
    timeout
        Seconds for a connection, and for an answer.

    Raises
    ------
    ConfigError
        The connection string cannot be read. It is not repeated in the message.
    """

    def __init__(self, dsn: str, *, timeout: float = TIMEOUT) -> None:
        try:
            given = conninfo_to_dict(dsn)
        except psycopg.ProgrammingError:
            # libpq's own message quotes the part that it does not understand, which may be the password.
            raise ConfigError(
                "the connection string cannot be read by libpq (it is not shown here: it may hold a"
                " password); use 'host=... port=... dbname=... user=...' or a postgresql:// URI, and leave"
                " the password to PGPASSFILE or PGPASSWORD"
            ) from None
        self._secrets = [str(given[key]) for key in ("password", "sslpassword") if given.get(key)]
        self._dsn = make_conninfo(
            dsn,
            connect_timeout=ceil(timeout),
            application_name=given.get("application_name", "quantum_control"),
        )
        self._timeout = timeout
        self._connection: psycopg.Connection[tuple[object, ...]] | None = None
        self._left_alone: object = None  # a parent's connection, which psycopg would complain of if dropped
        self._turn = threading.Lock()  # held from a statement to the end of its answer
        self.local = _is_local(given)
        """Whether the server is on this machine, as far as its address tells."""
        host, port = given.get("host", "local"), given.get("port", "default")
        self.where = f"host {host} port {port} database {given.get('dbname', 'default')}"
        """Whereto, for people: never with a password."""
        forget_in_child(self)

    def query(self, statement: str) -> list[dict[str, str | None]]:
        """Rows that the server answers, as text by column name.

        Raises
        ------
        SessionError
            No connection, no whole answer in time, or an error as the answer.
        """
        with self._turn:
            result = self._answer(statement)
        names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
        return [
            {name: _text(result.get_value(row, column)) for column, name in enumerate(names)}
            for row in range(result.ntuples)
        ]

    def close(self) -> None:
        """End the session, after the answer under way; the next statement opens another."""
        with self._turn:
            self._hang_up()

    def forget(self) -> None:
        """Begin anew in a forked child, without a word to the server: the connection is the parent's."""
        self._turn = threading.Lock()
        self._left_alone, self._connection = self._connection, None

    def scrub(self, text: str) -> str:
        """`text` without the passwords of the connection string."""
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return text

    def __repr__(self) -> str:
        return f"<Session with {self.where}>"

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def _answer(self, statement: str) -> PGresult:
        connection = self._connected()
        try:
            result = self._ask(connection, statement)
        except (psycopg.Error, OSError) as error:
            self._hang_up()
            self._raise(f"asking {statement!r} of {self.where}", error)
        except BaseException:  # of a signal's handler: the answer is on its way still
            self._hang_up()
            raise
        if result.status not in _GOOD:
            message = (result.error_message or b"an answer of an unknown kind").decode("utf-8", "replace")
            if connection.closed:
                self._hang_up()
            raise SessionError(
                f"asking {statement!r} of {self.where}: {self.scrub(message.strip())}",
                refused=self._connection is not None,
            )
        return result

    def _connected(self) -> psycopg.Connection[tuple[object, ...]]:
        if self._connection is None:
            try:
                self._connection = psycopg.connect(self._dsn, autocommit=True)
            except psycopg.Error as error:
                self._raise(f"connecting to {self.where}", error)
        return self._connection

    def _ask(self, connection: psycopg.Connection[tuple[object, ...]], statement: str) -> PGresult:
        pgconn = connection.pgconn
        deadline = time.monotonic() + self._timeout
        pgconn.send_query(statement.encode())
        last: PGresult | None = None
        with selectors.DefaultSelector() as arrivals:  # select() knows no descriptor from 1024 on
            arrivals.register(pgconn.socket, selectors.EVENT_READ)
            while True:
                while pgconn.is_busy():
                    left = deadline - time.monotonic()
                    if left <= 0.0 or not arrivals.select(left):
                        raise psycopg.OperationalError(f"no whole answer within {self._timeout:g} s")
                    pgconn.consume_input()
                result = pgconn.get_result()
                if result is None:
                    break
                # Of an error and what follows it (a lost connection answers twice) the error is of interest.
                if last is None or last.status in _GOOD:
                    last = result
        if last is None:
            raise psycopg.OperationalError("the server answered nothing")
        return last

    def _raise(self, doing: str, error: Exception) -> NoReturn:
        # Not chained: the original has the connection string within reach of a traceback's printer.
        raise SessionError(f"{doing}: {self.scrub(str(error).strip())}") from None


def _is_local(given: Mapping[str, object]) -> bool:
    """Whether libpq goes to this machine; no if a service, which may lead anywhere, tells it where to."""

    def said(key: str, variable: str) -> str:
        return str(given.get(key) or os.environ.get(variable, ""))

    if said("service", "PGSERVICE") and not (given.get("hostaddr") or given.get("host")):
        return False
    place = said("hostaddr", "PGHOSTADDR") or said("host", "PGHOST")
    return not place or place.startswith("/") or is_loopback(place)


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode("utf-8", "replace")

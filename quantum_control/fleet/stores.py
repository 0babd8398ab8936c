"""Where the ledger of a shared budget is kept: the PostgreSQL, or the Redis, that all share anyway."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Protocol
from zlib import crc32

from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.fleet.ledger import Ledger, Member

Change = Callable[[Ledger, float], int]
"""What is done to a ledger, given the store's clock in seconds."""

TIMEOUT = 3.0
"""Seconds for any answer of a store."""

TABLE = "quantum_control_budgets"

# Who dies, or is cut off, in the middle of a change holds up the others no longer than the patience.
_LOOK = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = {patience};
SET LOCAL lock_timeout = {patience};
SET LOCAL synchronous_commit = on;
SELECT pg_advisory_xact_lock({key});
SELECT extract(epoch FROM clock_timestamp())::float8 AS now,
       (SELECT ledger FROM {table} WHERE name = {name}) AS ledger
"""


class StoreError(QuantumControlError):
    """The store cannot be reached, or did not say what became of a change."""


class Store(Protocol):
    """Changes a ledger, one member at a time."""

    def update(self, change: Change) -> int:
        """Read the ledger, change it and write it back, as one; answers what the change does.

        Whatever the change raises leaves the ledger as it was.

        Raises
        ------
        StoreError
            The change may have been made or not.
        """

    def close(self) -> None:
        """End the connection; the next update opens another."""


class PostgresStore:
    """A row of the table `quantum_control_budgets`, changed under an advisory lock.

    The table is made at first use, where it is not there: by who may create
    one in the first schema of his search path, or by hand as
    `CREATE TABLE quantum_control_budgets (name text PRIMARY KEY, ledger jsonb NOT NULL)`.

    Parameters
    ----------
    dsn
        A libpq connection string; the same database for every member. It may go through a PgBouncer.
    name
        Of the budget.

    Raises
    ------
    ConfigError
        psycopg is not installed, or the connection string cannot be read.
    """

    def __init__(self, dsn: str, name: str = "default") -> None:
        try:
            from psycopg.sql import quote

            from quantum_control.resources.libpq import Session, SessionError
        except ImportError as error:
            raise ConfigError(
                "a budget in PostgreSQL needs psycopg: pip install 'quantum-control[postgres]'"
            ) from error
        self._session = Session(dsn, timeout=TIMEOUT)
        self._error = SessionError
        self._quote = quote
        self._name = quote(name)
        self._key = crc32(f"{TABLE} {name}".encode())
        self._ready = False
        self.where = self._session.where
        """Whereto, for people: never with a password."""

    def update(self, change: Change) -> int:
        """Change the ledger in a transaction that holds the lock."""
        try:
            if not self._ready:
                self._prepare()
            row = self._session.query(
                _LOOK.format(table=TABLE, name=self._name, key=self._key, patience=round(1000 * TIMEOUT))
            )[0]
            ledger = read(row["ledger"])
            answer = change(ledger, float(row["now"] or 0.0))
            text = self._quote(written(ledger))
            self._session.query(
                f"INSERT INTO {TABLE} VALUES ({self._name}, {text})"  # noqa: S608 - quoted
                " ON CONFLICT (name) DO UPDATE SET ledger = excluded.ledger; COMMIT"
            )
        except self._error as error:
            self._session.close()
            raise StoreError(f"budget: {error}") from None
        except BaseException:
            self._session.close()  # and with it the transaction
            raise
        return answer

    def close(self) -> None:
        """End the session."""
        self._session.close()

    def _prepare(self) -> None:
        if self._session.query(f"SELECT to_regclass('{TABLE}') AS found")[0]["found"] is None:
            self._session.query(
                f"BEGIN; SELECT pg_advisory_xact_lock({self._key});"
                f" CREATE TABLE IF NOT EXISTS {TABLE} (name text PRIMARY KEY, ledger jsonb NOT NULL); COMMIT"
            )
        self._ready = True

    def __repr__(self) -> str:
        return f"<PostgresStore on {self.where}>"


class RedisStore:
    """A key of a Redis, changed by WATCH and MULTI.

    A Redis that keeps nothing over a restart makes the budget begin anew,
    which costs newcomers 15 s of waiting (`fleet.ledger`); with
    `appendonly yes` and `appendfsync always` nothing is lost.

    Parameters
    ----------
    url
        redis://, rediss:// or unix:// address.
    name
        Of the budget.

    Raises
    ------
    ConfigError
        redis-py is not installed, or the address cannot be read.
    """

    TRIES = 50
    """Times that another member may be quicker, one after the other."""

    def __init__(self, url: str, name: str = "default") -> None:
        try:
            import redis
        except ImportError as error:
            raise ConfigError(
                "a budget in Redis needs redis-py: pip install 'quantum-control[redis]'"
            ) from error
        self._redis: Any = redis
        try:
            self._client: Any = redis.Redis.from_url(
                url, socket_timeout=TIMEOUT, socket_connect_timeout=TIMEOUT, retry=None
            )
        except ValueError:  # its message may quote the password
            raise ConfigError("the address of the Redis cannot be read; redis://HOST:PORT/DB") from None
        self._key = f"{TABLE}:{name}"

    def update(self, change: Change) -> int:
        """Change the ledger unless another has meanwhile, and then again."""
        try:
            for _ in range(self.TRIES):
                with self._client.pipeline(transaction=True) as pipe:
                    pipe.watch(self._key)
                    seconds, micros = pipe.time()
                    ledger = read(pipe.get(self._key))
                    answer = change(ledger, seconds + micros / 1e6)
                    pipe.multi()
                    pipe.set(self._key, written(ledger))
                    try:
                        pipe.execute()
                    except self._redis.WatchError:
                        continue
                    return answer
        except self._redis.RedisError as error:
            raise StoreError(f"budget: asking the Redis: {error}") from error
        raise StoreError(f"budget: the Redis is so busy with it that {self.TRIES} tries were in vain")

    def close(self) -> None:
        """End the connections."""
        self._client.close()

    def __repr__(self) -> str:
        return f"<RedisStore {self._key}>"


def written(ledger: Ledger) -> str:
    """The ledger as JSON."""
    return json.dumps(asdict(ledger))


def read(text: str | bytes | None) -> Ledger:
    """The ledger that was written; a new one for None.

    Raises
    ------
    ConfigError
        It is something else.
    """
    if text is None:
        return Ledger()
    try:
        content = json.loads(text)
        content["members"] = {name: Member(**each) for name, each in content["members"].items()}
        return Ledger(**content)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ConfigError(
            f"what the store has under {TABLE} is not a budget of this version: {error}"
        ) from error


def store_of(address: str, name: str = "default") -> PostgresStore | RedisStore:
    """The store at an address: redis://, rediss:// or unix://, or else a libpq connection string."""
    if address.startswith(("redis://", "rediss://", "unix://")):
        return RedisStore(address, name)
    return PostgresStore(address, name)

"""A mixed load on PostgreSQL in phases that move the knee, and clients that keep to a timetable."""

from __future__ import annotations

import hashlib
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import numpy as np
import psycopg
from numpy.typing import NDArray

from quantum_control.simulation.traces import TRACES, trace, traces_directory
from quantum_control.simulation.traffic import FloatArray

CLIENTS = 64
"""Threads of the application: what a busy web server of one process has."""

ACCOUNTS = 10_000
HOT_ROWS = 2
LOOKUPS = 100
"""Rows read between reading a hot row and updating it."""

SLOT = 0.25
"""Seconds for which the rate of arrivals stays the same."""

AHEAD = 0.05
"""Seconds before the first transaction can be due: by then all threads are there."""

SCHEMA = f"""
CREATE TABLE account (id int PRIMARY KEY, amount int);
INSERT INTO account SELECT g, 0 FROM generate_series(0, {ACCOUNTS - 1}) AS g;
CREATE TABLE hot (id int PRIMARY KEY, version int);
INSERT INTO hot SELECT g, 0 FROM generate_series(0, {HOT_ROWS - 1}) AS g;
CREATE FUNCTION transfer(k int) RETURNS int LANGUAGE plpgsql AS $$
DECLARE seen int; balance int;
BEGIN
  LOOP
    SELECT version INTO seen FROM hot WHERE id = k % {HOT_ROWS};
    FOR i IN 1..{LOOKUPS} LOOP
      SELECT amount INTO balance FROM account WHERE id = (k + i * 37) % {ACCOUNTS};
    END LOOP;
    UPDATE hot SET version = seen + 1 WHERE id = k % {HOT_ROWS} AND version = seen;
    EXIT WHEN FOUND;
  END LOOP;
  RETURN balance;
END $$;
"""  # noqa: S608 - numbers of ours

STATEMENTS = MappingProxyType(
    {
        "transfer": "SELECT transfer({key})",
        "wait": "SELECT amount, pg_sleep(0.03) FROM account WHERE id = {key}",
        "read": "SELECT amount FROM account WHERE id = {key}",
        "report": "SELECT sum(amount) FROM account WHERE id % 7 = {key} % 7",
    }
)
"""One statement is one transaction: an update of a hot row by its version, tried again if another was
faster (optimistic locking, which object-relational mappers bring along); a transaction that waits 30 ms
for something that is not the database; a point read; a scan of the table."""


@dataclass(frozen=True, slots=True)
class Phase:
    """A time in which the mix of transactions stays the same."""

    name: str
    mix: Mapping[str, float]
    """Share of each kind of transaction; the shares add up to 1."""
    utilisation: float
    """Mean load as a share of what the best fixed size can serve."""


PHASES = (
    Phase("hot rows", {"transfer": 0.5, "read": 0.49, "report": 0.01}, 0.75),
    Phase("waits", {"wait": 0.7, "read": 0.29, "report": 0.01}, 0.7),
)
"""Few connections are best in the first (each takes processor time from the others, and a transaction that
took longer is more often in vain), many in the second. Its load is lower, so that the peaks of the trace
still fit into `CLIENTS` connections."""


@dataclass(frozen=True, slots=True)
class Timetable:
    """When transactions are due, and which."""

    seconds: float
    due: FloatArray
    """Seconds after the beginning, ascending."""
    statements: list[str]


def timetable(phase: Phase, rate: float, seconds: float, rng: np.random.Generator) -> Timetable:
    """Arrivals of a phase: Poisson, with the ups and downs of a recorded trace where there are traces.

    Parameters
    ----------
    phase
        Its mix.
    rate
        Mean arrivals per second.
    seconds
        Length.
    rng
        What it all depends on.
    """
    slots = max(1, round(seconds / SLOT))
    counts = rng.poisson(rate * SLOT * _shape(slots, rng))
    due = np.concatenate(
        [np.sort(rng.random(count)) * SLOT + slot * SLOT for slot, count in enumerate(counts)]
    )
    kinds = rng.choice(list(phase.mix), size=due.size, p=list(phase.mix.values()))
    keys = rng.integers(0, ACCOUNTS, size=due.size)
    statements = [STATEMENTS[kind].format(key=key) for kind, key in zip(kinds, keys, strict=True)]
    return Timetable(slots * SLOT, due, statements)


TRACE = "twitter"
"""Recording whose ups and downs the arrivals have."""


def recording() -> str:
    """File that the arrivals follow and its SHA-256, or `none`: with another one they are others."""
    folder = traces_directory()
    if folder is None:
        return "none"
    with (folder / TRACES[TRACE]).open("rb") as file:
        return f"{TRACES[TRACE]}, SHA-256 {hashlib.file_digest(file, 'sha256').hexdigest()}"


def _shape(slots: int, rng: np.random.Generator) -> FloatArray:
    """Relative rate in each slot, with a mean of 1."""
    directory = traces_directory()
    if directory is None:
        return np.ones(slots)
    windows = _windows(directory, slots)
    window = windows[:, rng.integers(windows.shape[1])]
    shape: FloatArray = window / window.mean()
    return shape


@cache
def _windows(directory: Path, slots: int) -> FloatArray:
    """Cut the trace into windows of so many slots, of 20 s each in the recording."""
    windows = trace(TRACE, directory, bin=20, steps=slots)
    whole: FloatArray = windows[:, windows.min(axis=0) > 0]
    return whole


Work = Callable[[str], object]
"""Carries a statement out."""


def serve(work: Work, table: Timetable) -> NDArray[np.float32]:
    """Let `CLIENTS` threads take transactions as they fall due, until the time is over.

    Who falls behind does not thin the load out: latency counts from when a
    transaction was due, not from when it was taken.

    Returns
    -------
    array
        Seconds from when each transaction was due to its end; inf if it was
        never taken, nan if it failed.
    """
    due, statements = table.due.tolist(), table.statements
    latencies = np.full(len(due), np.inf, dtype=np.float32)
    lock = threading.Lock()
    cursor = 0
    begin = time.monotonic() + AHEAD

    def loop() -> None:
        nonlocal cursor
        while True:
            with lock:
                mine = cursor
                cursor += 1
            if mine >= len(due):
                return
            at = begin + due[mine]
            ahead = at - time.monotonic()
            if ahead > 0.0:
                time.sleep(ahead)
            elif time.monotonic() > begin + table.seconds:
                return
            try:
                work(statements[mine])
            except psycopg.Error:
                latencies[mine] = np.nan
            else:
                latencies[mine] = time.monotonic() - at

    _together(loop)
    return latencies


def capacity(work: Work, phase: Phase, seconds: float) -> float:
    """Transactions per second with every client always busy."""
    counts: list[int] = []
    end = time.monotonic() + seconds

    def loop() -> None:
        rng = random.Random()  # noqa: S311 - a load, not a secret
        kinds, shares = list(phase.mix), list(phase.mix.values())
        count = 0
        while time.monotonic() < end:
            work(STATEMENTS[rng.choices(kinds, shares)[0]].format(key=rng.randrange(ACCOUNTS)))
            count += 1
        counts.append(count)

    _together(loop)
    return sum(counts) / seconds


def _together(loop: Callable[[], None]) -> None:
    """Let every client do its loop; an error of one is raised here, once all have ended."""
    errors: list[Exception] = []

    def client() -> None:
        try:
            loop()
        except Exception as error:  # noqa: BLE001 - raised below, unless Ctrl-C has ended the server before
            errors.append(error)

    threads = [threading.Thread(target=client) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]

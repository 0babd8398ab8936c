"""Many resources in one process: one step of the control loop for all of them, a row each.

Filter, laws and tuning are those of the single controller, which take arrays
as well as numbers; what the controller does around them (the size as it is
found, the guard, handing back what fails) is here for rows. The same
measurements give the same sizes either way.
"""

from __future__ import annotations

from copy import deepcopy
from math import inf, nan

import numpy as np
from numpy.typing import ArrayLike, NDArray

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective, PhysicsModel
from quantum_control.core.plugins import law
from quantum_control.core.safety import positive_int
from quantum_control.fleet.chunk import MOST_FAILURES, Chunk, Memory
from quantum_control.fleet.guard import REASONS, RowGuard

Array = NDArray[np.float64]

HISTORY = 12
"""Intervals that are kept: with them a row takes less than 200 bytes."""

CHUNK = 2048
"""Rows stepped at once: what a step computes on the way stays in the processor's cache."""

TUNED_CHUNK = 256
"""The same where candidates make 28 rows of each."""


PHASES = 64
"""Of chunks: what laws do every so many intervals, the chunks do in turn."""


class ResourceArray:
    """Steers the sizes of many resources by one law, each on its own.

    It knows no clock, no thread and no server: whoever calls `step()` brings
    what was measured and applies what comes back. For several laws or
    objectives have several arrays.

    Parameters
    ----------
    rows
        How many resources.
    physics_model
        Name of a law, or an instance whose formulae take arrays; each chunk of rows gets a copy.
    auto_tune
        Learn headroom of each row, and how fast its filter follows, online.
    interval
        Nominal seconds between steps.
    objective
        Prices by which tuning judges, and which set the headroom.
    guard
        Bounds, and how fast and how finely each size may move.
    max_failures
        Missing measurements in a row after which the original size is ordered; as many good ones in
        a row take the control up again. Up to 255.
    history
        Intervals of demand and size that are kept, 8 bytes each.
    chunk
        Rows stepped at once; by default what fits in the cache.

    Raises
    ------
    ConfigError
        A parameter is out of its range, or a limit has another number of rows.
    """

    def __init__(
        self,
        rows: int,
        physics_model: str | PhysicsModel = "optomechanical",
        auto_tune: bool = False,
        *,
        interval: float = 1.0,
        objective: Objective | None = None,
        guard: RowGuard | None = None,
        max_failures: int = 5,
        history: int = HISTORY,
        chunk: int | None = None,
    ) -> None:
        self.rows = positive_int("rows", rows)
        if not 0.0 < interval < inf:
            raise ConfigError(f"interval={interval!r}: seconds between steps, a positive number")
        if positive_int("max_failures", max_failures) > MOST_FAILURES:
            raise ConfigError(f"max_failures={max_failures}: at most {MOST_FAILURES} in an array")
        self.interval = float(interval)
        self.guard = guard or RowGuard()
        for limit in self.guard.arrays:
            if limit.ndim and limit.shape != (rows,):
                raise ConfigError(f"a limit has {len(limit)} rows; the array has {rows}")
        self._max_failures = max_failures
        self._memory = Memory(rows, positive_int("history", history))
        self._now = -inf
        self._steps = 0
        prices = objective or Objective()
        tuned = auto_tune or physics_model == "auto"
        width = positive_int("chunk", chunk or (TUNED_CHUNK if tuned else CHUNK))
        self._chunks = []
        for number, first in enumerate(range(0, rows, width)):
            one = law(deepcopy(physics_model), prices)
            one.phase = number % PHASES
            part = slice(first, min(first + width, rows))
            self._chunks.append(Chunk(part, one.tuned(prices) if auto_tune else one, self.guard.of(part)))

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Sizes last ordered; 0 where nothing was ever measured."""
        return self._memory.size.astype(np.int64)

    @property
    def original(self) -> NDArray[np.int64]:
        """Sizes found at the first measurement, to go back to; 0 before it."""
        return self._memory.original.astype(np.int64)

    @property
    def suspended(self) -> NDArray[np.bool_]:
        """Rows that too many failures have handed back."""
        return self._memory.suspended.copy()

    @property
    def nbytes(self) -> int:
        """Bytes of state and history, limits included, without what the law itself remembers."""
        return self._memory.nbytes + sum(limit.nbytes for limit in self.guard.arrays)

    def reason(self, row: int) -> str:
        """Why the size of a row is not the one that its law wanted; empty if it is."""
        return REASONS[self._memory.why[row]]

    def history(self, row: int) -> list[tuple[float, float]]:
        """Demand (nan if missing) and size in force of the last intervals of a row, oldest first."""
        kept = self._memory.past.shape[0]
        last = [step % kept for step in range(max(0, self._steps - kept), self._steps)]
        return [(float(demand), float(size)) for demand, size in self._memory.past[last, :, row]]

    def step(self, now: float, demand: ArrayLike, size: ArrayLike = nan) -> NDArray[np.int64]:
        """Take what was measured at `now` and say which size each resource is to have.

        Parameters
        ----------
        now
            Seconds, of any clock. If it did not advance all sizes stay.
        demand
            In use + waiting of each row; nan where it is not known, and that row's size stays. What
            no resource can be asked for (negative, infinite) counts as not known. As size.
        size
            In force meanwhile; nan where it is the one ordered last. A row takes part once its size
            was told.

        Returns
        -------
        array of int
            Size to apply to each row; 0 where nothing was ever measured.

        Raises
        ------
        ConfigError
            The measurements are not of as many rows.
        """
        demand, size = self._rows_of("demand", demand), self._rows_of("size", size)
        if self._now < now < inf:
            self._now = now
            past = self._memory.past[self._steps % self._memory.past.shape[0]]
            self._steps += 1
            with np.errstate(all="ignore"):  # what overflows, or is no number, is told by the masks
                for chunk in self._chunks:
                    rows = chunk.rows
                    chunk.step(
                        self._memory,
                        self._max_failures,
                        self.interval,
                        now,
                        demand[rows],
                        size[rows],
                        past[:, rows],
                    )
        else:  # a clock that went back is believed from here on
            self._now = min(self._now, now)
            np.minimum(self._memory.time, self._now, out=self._memory.time)
        return self.sizes

    def _rows_of(self, name: str, values: ArrayLike) -> Array:
        try:
            array = np.asarray(values, dtype=np.float64)
            return np.broadcast_to(array, (self.rows,))
        except (TypeError, ValueError):
            raise ConfigError(
                f"{name} has the shape {np.shape(values)}; one number for each of {self.rows} rows"
            ) from None

    def __repr__(self) -> str:
        return f"<ResourceArray of {self.rows}: {self._chunks[0].law.name}>"

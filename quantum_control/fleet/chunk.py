"""A chunk of rows that are stepped together, and what is kept of them from one step to the next."""

from __future__ import annotations

from math import inf, nan
from typing import Any, Final, cast

import numpy as np
from numpy.typing import NDArray

from quantum_control.core.actuator import PATIENCE
from quantum_control.core.estimation import LARGEST, AmplitudeFilter
from quantum_control.core.flow import flow_and_backlog
from quantum_control.core.missed import Missed
from quantum_control.core.numeric import ARRAY
from quantum_control.core.physics import MAX_EXPONENT, PhysicsModel
from quantum_control.core.resource import ResourceState, quick_state
from quantum_control.fleet.guard import HANDED_BACK, LARGEST_SIZE, UNMEASURED, RowGuard

Array = NDArray[np.float64]

MOST_FAILURES: Final = 255
"""Counters of failures take one byte."""


class Memory:
    """What is kept of each row from one step to the next."""

    def __init__(self, rows: int, history: int) -> None:
        self.level, self.exact, self.seen = np.full((3, rows), nan)
        self.variance, self.temperature = np.empty((2, rows))
        self.carried, self.velocity, self.size, self.original = np.zeros((4, rows))
        self.time = np.full(rows, -inf)
        self.direction, self.why = np.zeros((2, rows), dtype=np.int8)
        self.astray, self.failed, self.good = np.zeros((3, rows), dtype=np.uint8)
        self.suspended = np.zeros(rows, dtype=np.bool_)
        self.past = np.full((history, 2, rows), nan, dtype=np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes of all of it."""
        return sum(array.nbytes for array in vars(self).values())


class Chunk:
    """Some rows that are stepped together, with the law that remembers for them."""

    def __init__(self, rows: slice, law: PhysicsModel, guard: RowGuard) -> None:
        self.rows = rows
        self.law = law
        self.guard = guard
        self._filter = AmplitudeFilter(law.agility, law.jump)
        self._filter.started = True
        self._forecast: Array = np.zeros(rows.stop - rows.start)
        self._asked = -inf  # when the law was last asked, seconds
        self._missed = Missed()

    def step(
        self,
        memory: Memory,
        limit: int,
        interval: float,
        now: float,
        demand: Array,
        size: Array,
        past: NDArray[Any],
    ) -> None:
        """Take the measurements of these rows and leave the sizes to order in `memory`."""
        rows = self.rows
        ordered, exact = memory.size[rows], memory.exact[rows]
        in_force = np.where(size == size, size, np.rint(exact))
        past[0], past[1] = demand, in_force
        position = demand / in_force - 1.0
        good = (in_force > 0.0) & (in_force < inf) & (position >= -1.0)
        good &= in_force * (1.0 + position) < LARGEST
        if not good.all():
            self._failed(memory, ~good, limit)
            if not good.any():
                return
            # The law is asked for all rows at once: the others show it what was forecast of them, and
            # its answer is not used.
            in_force = np.where(good, in_force, np.maximum(ordered, 1.0))
            position = np.where(good, self._forecast / in_force - 1.0, position)
            position = np.where(good, demand / in_force - 1.0, position)
        state, elapsed = self._estimated(memory, now, position, in_force, good, interval)
        _see(memory, rows, in_force, good)
        active = good & ~self._held_back(memory, good, limit)

        force = np.asarray(self.law.calculate_force(state), dtype=np.float64)
        ordered, exact = memory.size[rows], memory.exact[rows]
        wanted = exact * np.exp(np.minimum(force * interval, MAX_EXPONENT))
        allowed, why, direction = self.guard.allow(
            ordered, wanted, elapsed / interval, memory.direction[rows]
        )
        kept = np.where((allowed == ordered) & (why == 0), wanted, allowed)
        for array, new in (
            (memory.size, allowed),
            (memory.exact, kept),
            (memory.why, why),
            (memory.direction, direction),
        ):
            np.copyto(array[rows], new, where=active, casting="same_kind")

    def _estimated(
        self, memory: Memory, now: float, position: Array, size: Array, good: Any, interval: float
    ) -> tuple[ResourceState, Array]:
        """State of each row, as `core.estimation.Estimator` has it of one, and seconds since the last."""
        rows, level = self.rows, self._filter
        fresh = memory.level[rows] != memory.level[rows]
        some_fresh = bool(fresh.any())
        elapsed = now - memory.time[rows]
        exact = memory.exact[rows]
        if some_fresh:
            elapsed = np.where(fresh, interval, elapsed)
            exact = np.where(fresh, size, exact)
        intervals = elapsed / interval
        flow, backlog = cast(
            tuple[Array, Array],
            flow_and_backlog(
                cast(float, size * (1.0 + position)),
                cast(float, size),
                cast(float, memory.carried[rows]),
                cast(float, intervals),
                ARRAY,
            ),
        )
        amplitude = np.sqrt(flow)
        # A row that is missing among others shows the law its forecast; this is of all rows at once.
        if self._asked > -inf and (missed := self._missed.before((now - self._asked) / interval)):
            self.law.missed(missed)
        self._asked = now
        known, coming = self.law.anticipate(cast(float, amplitude))
        unknown = amplitude - known
        level.level = cast(float, memory.level[rows].copy())
        level.variance, level.temperature = (
            cast(float, memory.variance[rows]),
            cast(float, memory.temperature[rows]),
        )
        if some_fresh:
            started = AmplitudeFilter(level.agility, level.jump)
            started.start(cast(float, unknown))
            for name in ("level", "variance", "temperature"):
                setattr(level, name, np.where(fresh, getattr(started, name), getattr(level, name)))
        level.update(cast(float, unknown), cast(float, intervals), ARRAY)
        if some_fresh:
            for name in ("level", "variance", "temperature", "change", "change_error"):
                setattr(level, name, np.where(fresh, getattr(started, name), getattr(level, name)))
        ahead = np.maximum(level.level + coming, 0.0)
        self._forecast = forecast = ahead * ahead
        velocity = level.gained / (elapsed * size)
        state = quick_state(
            cast(float, position),
            cast(float, velocity),
            cast(float, (velocity - memory.velocity[rows]) / elapsed),
            size=cast(float, size),
            time=now,
            interval=interval,
            commanded=cast(float, exact),
            flow=cast(float, flow),
            forecast=cast(float, forecast),
            spread=level.spread(1.0, ARRAY),
            backlog=cast(float, backlog),
            temperature=level.temperature,
            snr=level.change / level.change_error,
        )
        for array, new in (
            (memory.level, level.level),
            (memory.variance, level.variance),
            (memory.temperature, level.temperature),
            (memory.carried, backlog),
            (memory.velocity, velocity),
            (memory.time, now),
        ):
            np.copyto(array[rows], new, where=good)
        return state, elapsed

    def _failed(self, memory: Memory, bad: Any, limit: int) -> None:
        """Count rows that were not measured; after `limit` in a row their original size is ordered."""
        rows = self.rows
        failed, suspended = memory.failed[rows], memory.suspended[rows]
        failed[bad] = np.minimum(failed[bad], MOST_FAILURES - 1) + 1
        memory.good[rows][bad] = 0
        suspended |= bad & (failed >= limit)
        memory.why[rows][bad] = UNMEASURED
        back = bad & suspended & (memory.original[rows] > 0.0)
        _hand_back(memory, rows, back)

    def _held_back(self, memory: Memory, good: Any, limit: int) -> Any:
        """Rows, among those that were measured, that still wait for good measurements."""
        rows = self.rows
        memory.failed[rows][good] = 0
        suspended = memory.suspended[rows]
        if not suspended.any():
            return suspended
        waiting = suspended & good
        _hand_back(memory, rows, waiting)
        counted = memory.good[rows]
        counted[waiting] += 1
        suspended &= ~(waiting & (counted >= limit))
        held = waiting & suspended
        memory.why[rows][held] = HANDED_BACK
        return held


def _hand_back(memory: Memory, rows: slice, where: Any) -> None:
    """Order the original size again."""
    where = where & (memory.size[rows] != memory.original[rows])
    np.copyto(memory.size[rows], memory.original[rows], where=where)
    np.copyto(memory.exact[rows], memory.original[rows], where=where)


def _see(memory: Memory, rows: slice, in_force: Array, good: Any) -> None:
    """Note the sizes in force, as `core.actuator.Actuator` does: go on from what others have set."""
    ordered, seen = memory.size[rows], memory.seen[rows]
    unknown = memory.original[rows] == 0.0
    near = (np.abs(in_force - ordered) < 1.0) | ((in_force - seen) * (ordered - seen) > 0.0)
    astray = memory.astray[rows]
    strayed = good & ~near & ~unknown
    if strayed.any() or astray.any():
        np.copyto(astray, np.where(strayed, astray + 1, 0), where=good, casting="unsafe")
    new = (good & unknown) | (astray > PATIENCE)
    np.copyto(seen, in_force, where=good & ~unknown)
    if not new.any():
        return
    found = np.minimum(np.maximum(np.rint(in_force), 1.0), LARGEST_SIZE)
    np.copyto(ordered, found, where=new)
    np.copyto(memory.exact[rows], found, where=new)
    np.copyto(memory.original[rows], found, where=good & unknown)
    astray[new] = 0

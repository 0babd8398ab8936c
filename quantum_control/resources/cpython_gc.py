"""CPython's own collector: how many new objects it waits for, from what collecting costs."""

from __future__ import annotations

import gc
import logging
import time
from collections.abc import Callable, Mapping
from math import inf, sqrt
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError, SafetyError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.fragmentation import Trimming
from quantum_control.resources.stock import Stock

_log = logging.getLogger("quantum_control")

SHARE = 0.01
"""Share of the time that collecting may take: a hundredth is lost in the noise of most programs."""

PAUSE = 0.005
"""Seconds that a collection of young objects may take."""

MOST = 50_000
"""Objects. Beyond it the young ones no longer fit into a processor's cache: collecting gets slower again."""

HANDS_OFF_SECONDS = 300.0
"""Seconds for which thresholds set by somebody else are left alone."""

LARGEST_CHANGE = 4.0
"""Factor by which the threshold wanted may differ from the one in force: costs are guessed for near ones."""


class CpythonGc(Resource):
    """Steers the first collection threshold of this process, `gc.set_threshold`.

    With a allocations a second that outlive their deallocations and a
    threshold of u, the collector runs a/u times a second. Its share of the
    time falls as u grows, while its pauses and the garbage in cycles grow with
    it. Wanted is the u at which the share is `share`, as far as the pauses
    of young collections stay below `pause`: the geometric mean of u and
    u·measured/`share`, since old generations make the share fall less than 1/u.

    Parameters
    ----------
    min_objects, max_objects
        Bounds of the threshold.
    share
        Share of the time that collecting may take. Unit 1.
    pause
        Seconds that a young collection may take.
    hands_off
        Seconds for which thresholds that somebody else has set are left alone.
        From then on they are what is put back.
    clock
        Seconds, for pauses too.

    Raises
    ------
    ConfigError
        The collector is switched off, or a parameter is out of its range.
    """

    unit = "objects"

    def __init__(
        self,
        *,
        min_objects: int = 500,
        max_objects: int = MOST,
        share: float = SHARE,
        pause: float = PAUSE,
        hands_off: float = HANDS_OFF_SECONDS,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not 0.0 < share < 1.0 or not pause > 0.0:
            raise ConfigError(f"CpythonGc: share={share!r} must be within 0 and 1, pause={pause!r} above 0")
        if not 0.0 <= hands_off < inf:
            raise ConfigError(f"hands_off={hands_off!r}: seconds, 0 or more")
        self._original = gc.get_threshold()
        if not gc.isenabled() or not self._original[0]:
            raise ConfigError(
                "the collector of this process is switched off, and stays so;"
                " call gc.enable() if that is not meant"
            )
        self.min_size = min_objects
        self.max_size = max_objects
        self._share, self._pause, self._clock = share, pause, clock
        self._hands_off = hands_off
        self._theirs_until = -inf
        self._left = self._original  # what we left the thresholds at
        self._found = self._original[0]
        self.found_anew = 0  # how often `snapshot()` has changed, as somebody else has set thresholds
        self.steers_while_measuring = True  # it trims the C heap
        self._stock = Stock()
        self._trimming = Trimming()
        self._froze = False
        self._began = self._last = clock()
        self._collecting = 0.0  # seconds, since the last measurement
        self._young_pause = 0.0  # longest of generations 0 and 1 since then
        self._longest = 0.0
        self._runs = 0
        self._metrics: dict[str, float] = {}
        gc.callbacks.append(self._notice)

    def _notice(self, phase: str, info: Mapping[str, int]) -> None:
        """Note the pause; collections do not overlap, so that nothing is to be locked."""
        now = self._clock()
        if phase == "start":
            self._began = now
            return
        took = now - self._began
        self._collecting += took
        self._runs += 1
        self._longest = max(self._longest, took)
        if info["generation"] < 2:
            self._young_pause = max(self._young_pause, took)

    def measure_state(self) -> ResourceState:
        """Measure what collecting has cost since the last call.

        Raises
        ------
        SensorError
            Somebody has switched the collector off.
        """
        now, found = self._clock(), gc.get_threshold()
        if not gc.isenabled() or not found[0]:
            raise SensorError(
                "the collector of this process was switched off; nothing is steered until it is on"
            )
        self._notice_others(found)
        size, seconds = found[0], now - self._last
        share = self._collecting / seconds if seconds > 0.0 else 0.0
        change = sqrt(max(share / self._share, LARGEST_CHANGE**-2)) if self._runs else 1.0
        if self._young_pause > 0.0:
            change = min(change, self._pause / self._young_pause)
        change = min(max(change, 1.0 / LARGEST_CHANGE), LARGEST_CHANGE)
        self._metrics = {
            "collections": self._runs / seconds if seconds > 0.0 else 0.0,
            "collecting_ratio": share,
            "longest_pause_seconds": self._longest,
            "allocated_objects": self._runs * size / seconds if seconds > 0.0 else 0.0,
        } | (self._trimming.step(now) if self.steers_while_measuring else self._trimming.look())
        self._last, self._runs = now, 0
        self._collecting = self._young_pause = self._longest = 0.0
        wanted = min(max(size * change, self.min_size), self.max_size or MOST)
        return ResourceState.from_demand(self._stock.demand(wanted, size), size=size)

    def apply_control(self, new_size: int) -> None:
        """Set the first threshold; the others stay as they are.

        The size found puts back all that was found, or what somebody else has set since.

        Raises
        ------
        SafetyError
            Somebody else has set them within the last `hands_off` seconds.
        ActuatorError
            Python does not take it.
        """
        self._notice_others(gc.get_threshold())
        left = self._theirs_until - self._clock()
        # The size found first stands for what somebody else has set and nobody has measured yet.
        back = new_size == self._original[0] or (left > 0.0 and new_size == self._found)
        wanted = self._original if back else (new_size, *self._original[1:])
        if left > 0.0 and wanted != self._left:
            raise SafetyError(
                f"the gc thresholds were set to {self._left} by somebody else"
                f" and are left alone for another {left:.0f} s"
            )
        try:
            gc.set_threshold(*wanted)
        except (OverflowError, ValueError) as error:
            raise ActuatorError(f"gc.set_threshold{wanted}: {error}") from error
        self._left = gc.get_threshold()

    def get_metrics(self) -> dict[str, float]:
        """Collections and net new objects per second, share of the time, longest pause.

        And of the C heap what `Trimming` tells. `set_by_hand`: 1 while thresholds
        set by somebody else are left alone.
        """
        return self._metrics | {"set_by_hand": float(self._theirs_until > self._clock())}

    def _notice_others(self, found: tuple[int, int, int]) -> None:
        if found == self._left:
            return
        self._theirs_until = self._clock() + self._hands_off
        _log.warning(
            "gc thresholds were set to %s by somebody else; left alone for %g s, and what is restored",
            found,
            self._hands_off,
        )
        self._original = self._left = found
        self.found_anew += 1

    def freeze(self) -> int:
        """Collect, and spare what is there from later collections; for when start-up is over.

        Returns the number of objects that are spared. `release()` undoes it.
        """
        gc.collect()
        self._froze = self._froze or not gc.get_freeze_count()
        gc.freeze()
        return gc.get_freeze_count()

    def snapshot(self) -> dict[str, object]:
        """Return the thresholds as they were found."""
        return {"thresholds": list(self._original)}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put a snapshot back; what somebody else has set within the last `hands_off` seconds stays.

        Raises
        ------
        ActuatorError
            It is none of ours.
        """
        thresholds = snapshot.get("thresholds")
        if not isinstance(thresholds, (list, tuple)) or len(thresholds) != 3:
            raise ActuatorError(f"these are no gc thresholds: {snapshot!r}")
        self._notice_others(gc.get_threshold())
        if self._theirs_until <= self._clock():
            gc.set_threshold(*thresholds)
            self._original = self._left = gc.get_threshold()

    def release(self) -> None:
        """Put everything back as it was found, and look no more; may be called any number of times."""
        if self._notice not in gc.callbacks:
            return
        gc.callbacks.remove(self._notice)
        if gc.get_threshold() == self._left:  # else it is somebody else's by now
            gc.set_threshold(*self._original)
        if self._froze:
            gc.unfreeze()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return "<CpythonGc of this process>"

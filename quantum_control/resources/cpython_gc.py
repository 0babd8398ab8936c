"""CPython's own collector: how many new objects it waits for, from what collecting costs."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from math import sqrt
from types import TracebackType
from typing import Self, TypeAlias

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.fragmentation import Trimming
from quantum_control.resources.setting_custody import HANDS_OFF_SECONDS, SettingCustody
from quantum_control.resources.stock import Stock

SHARE = 0.01
"""Share of the time that collecting may take: a hundredth is lost in the noise of most programs."""

PAUSE = 0.005
"""Seconds that a collection of young objects may take."""

MOST = 50_000
"""Objects. Beyond it the young ones no longer fit into a processor's cache: collecting gets slower again."""

LARGEST_CHANGE = 4.0
"""Factor by which the threshold wanted may differ from the one in force: costs are guessed for near ones."""


Thresholds: TypeAlias = tuple[int, int, int]


def _set_thresholds(wanted: Thresholds) -> Thresholds:
    try:
        gc.set_threshold(*wanted)
    except (OverflowError, ValueError) as error:
        raise ActuatorError(f"gc.set_threshold{wanted}: {error}") from error
    return gc.get_threshold()


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
        found = gc.get_threshold()
        self._custody = SettingCustody("the setting of gc's thresholds", found, hands_off, clock)
        if not gc.isenabled() or not found[0]:
            raise ConfigError(
                "the collector of this process is switched off, and stays so;"
                " call gc.enable() if that is not meant"
            )
        self.min_size = min_objects
        self.max_size = max_objects
        self._share, self._pause, self._clock = share, pause, clock
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
        self._custody.notice(found)
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
        custody = self._custody
        custody.notice(gc.get_threshold())
        original = custody.original
        # The size found before stands for what somebody else has set and nobody has measured yet.
        back = new_size == original[0] or (custody.theirs and new_size == custody.replaced[0])
        custody.order(original if back else (new_size, *original[1:]), _set_thresholds)

    def get_metrics(self) -> dict[str, float]:
        """Collections and net new objects per second, share of the time, longest pause.

        And of the C heap what `Trimming` tells. `set_by_hand`: 1 while thresholds
        set by somebody else are left alone.
        """
        return self._metrics | {"set_by_hand": float(self._custody.left_alone > 0.0)}

    def freeze(self) -> int:
        """Collect, and spare what is there from later collections; for when start-up is over.

        Returns the number of objects that are spared. `release()` undoes it.
        """
        gc.collect()
        self._froze = self._froze or not gc.get_freeze_count()
        gc.freeze()
        return gc.get_freeze_count()

    @property
    def found_anew(self) -> int:
        """How often `snapshot()` has changed, as somebody else has set thresholds."""
        return self._custody.found_anew

    def snapshot(self) -> dict[str, object]:
        """Return the thresholds as they were found."""
        return {"thresholds": list(self._custody.original)}

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
        custody = self._custody
        custody.notice(gc.get_threshold())
        if not custody.theirs:
            first, second, third = thresholds
            custody.order((first, second, third), _set_thresholds)
            custody.original = custody.ordered

    def release(self) -> None:
        """Put everything back as it was found, and look no more; may be called any number of times."""
        if self._notice not in gc.callbacks:
            return
        gc.callbacks.remove(self._notice)
        if gc.get_threshold() == self._custody.ordered:  # else it is somebody else's by now
            gc.set_threshold(*self._custody.original)
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

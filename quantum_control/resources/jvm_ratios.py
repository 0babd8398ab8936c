"""The heap of a JVM that runs G1: its free ratios stand in for SoftMaxHeapSize, which G1 does not heed."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources.jvm_reading import HeapReading, Jvm

FLAG = "SoftMaxHeapSize"

OBEYING = ("ZGC", "Shenandoah")
"""Collectors that heed SoftMaxHeapSize. G1 accepts it and does nothing."""

MIN_RATIO, MAX_RATIO = "MinHeapFreeRatio", "MaxHeapFreeRatio"

MOST = 99
"""Percent: at 100 G1 would take all that it may at every collection."""

Ratios = tuple[int, int]
"""Percent of the heap that is to be free after a collection, at least and at most."""


def free_ratio(live: float, size: float) -> int:
    """Percent that is free where `live` of `size` bytes are in use, from 0 to `MOST`."""
    if not size > 0.0:
        return 0
    return round(max(0.0, min(float(MOST), 100.0 * (1.0 - live / size))))


class FreeRatios:
    """A JVM whose flag SoftMaxHeapSize is played by MinHeapFreeRatio and MaxHeapFreeRatio.

    G1 makes its heap so large that the part which is free after marking, or
    after a full collection, lies between the two. Both are set to
    100 (1 - live/size), again whenever the live set makes that another number.
    The flag is 0, which stands for -Xmx, while the ratios are those that were
    found; setting it to 0 puts them back.

    Parameters
    ----------
    jvm
        The JVM itself.

    Raises
    ------
    SensorError
        The JVM cannot be asked.
    """

    def __init__(self, jvm: Jvm) -> None:
        self._jvm = jvm
        self.original = self._ratios()
        """As they were found: what 0 stands for."""
        self._wanted: tuple[int, Ratios] | None = None  # bytes, and the ratios that were set for them
        # Bytes of what an order that failed on its way may have left: it may have got there, or half of it.
        self._attempted: dict[Ratios, int] = {}
        # As `_wanted`, of ratios that somebody else has set; the bytes are what these came to then.
        self._theirs: tuple[int, Ratios] | None = None
        self._last: HeapReading | None = None

    def read(self) -> HeapReading:
        """Measure now, and renew the ratios where the live set has changed.

        Raises
        ------
        SensorError
            The JVM cannot be asked.
        """
        last, now = self._last, self._jvm.read()
        if last is not None and now.started != last.started:
            self.original, self._wanted, self._theirs = self._ratios(), None, None
            self._attempted.clear()
        self._last = now
        if self._wanted is not None:
            size, ours = self._wanted
            ratios = self._ratios() if self._fitting(size) != ours else None
            if ratios is not None and (ratios == ours or self._attempted.get(ratios) == size):
                try:
                    self._order(size)
                except ActuatorError as error:
                    raise SensorError(f"renewing the free ratios: {error}") from error
        return now

    def flag(self, name: str) -> int:
        """Value of a numeric flag; of SoftMaxHeapSize, what the ratios stand for; raises `SensorError`."""
        if name != FLAG:
            return self._jvm.flag(name)
        ratios = self._ratios()
        if self._wanted is not None and ratios == self._wanted[1]:
            return self._wanted[0]
        if ratios in self._attempted:
            return self._attempted[ratios]
        if ratios == self.original:
            return 0
        if self._theirs is None or self._theirs[1] != ratios:
            # What they come to now stands for them until they are changed again.
            self._theirs = round(self._live() / (1.0 - min(MOST, ratios[1]) / 100.0)), ratios
        return self._theirs[0]

    def set_flag(self, name: str, value: int) -> None:
        """Set a manageable flag; of SoftMaxHeapSize, the ratios that stand for it; raises `ActuatorError`."""
        if name != FLAG:
            self._jvm.set_flag(name, value)
        elif value and (self._theirs is None or value != self._theirs[0]):
            self._order(value)
        else:
            self._set(value, self.standing(value))
            self._wanted = None

    def standing(self, value: int) -> Ratios:
        """Ratios that were found, or set by somebody else, for which `value` bytes stand."""
        return self._theirs[1] if self._theirs is not None and value == self._theirs[0] else self.original

    def collector(self) -> str:
        """Name of the collector; raises `SensorError`."""
        return self._jvm.collector()

    def collect(self) -> None:
        """Ask for a collection and wait for its end; raises `ActuatorError`."""
        self._jvm.collect()

    def close(self) -> None:
        """Let go of the JVM."""
        self._jvm.close()

    def __repr__(self) -> str:
        return repr(self._jvm)

    def _ratios(self) -> Ratios:
        return self._jvm.flag(MIN_RATIO), self._jvm.flag(MAX_RATIO)

    def _live(self) -> float:
        """Bytes in use after a collection; before there was one, bytes in use."""
        now = self._last
        if now is None:
            now = self._last = self._jvm.read()
        return max(1.0, now.live if now.live == now.live else float(now.used))

    def _fitting(self, size: int) -> Ratios:
        ratio = free_ratio(self._live(), size)
        return ratio, ratio

    def _order(self, size: int) -> None:
        try:
            ratios = self._fitting(size)
        except SensorError as error:
            raise ActuatorError(f"setting the heap to {size} bytes: {error}") from error
        self._set(size, ratios)
        self._wanted = size, ratios

    def _set(self, size: int, ratios: Ratios) -> None:
        """Set both, in an order in which the least is never above the most; both or neither."""
        try:
            found = self._ratios()
        except SensorError as error:
            raise ActuatorError(f"setting the free ratios to {ratios}: {error}") from error
        steps = _steps(found, ratios)
        halfway = (ratios[0], found[1]) if steps[0][0] == MIN_RATIO else (found[0], ratios[1])
        self._attempted |= {halfway: size, ratios: size}
        self._jvm.set_flag(*steps[0])
        try:
            self._jvm.set_flag(*steps[1])
        except ActuatorError:
            name = steps[0][0]
            with suppress(ActuatorError):
                self._jvm.set_flag(name, found[name == MAX_RATIO])
            raise
        self._attempted.clear()


def _steps(found: Ratios, ratios: Ratios) -> list[tuple[str, int]]:
    least, most = (MIN_RATIO, ratios[0]), (MAX_RATIO, ratios[1])
    return [most, least] if ratios[1] >= found[0] else [least, most]


def ratios_for(jvm: Jvm) -> FreeRatios | None:
    """What stands in for the flag; None where the JVM's collector heeds it.

    Raises
    ------
    ConfigError
        The collector cannot be steered.
    SensorError
        The JVM cannot be asked.
    """
    collector = jvm.collector()
    if collector in OBEYING:
        return None
    if collector == "G1":
        return FreeRatios(jvm)
    raise ConfigError(
        f"{jvm!r} runs {collector}, which does not heed {FLAG};"
        " start it with -XX:+UseZGC, -XX:+UseShenandoahGC or -XX:+UseG1GC"
    )


def kept_ratios(snapshot: Mapping[str, object]) -> Ratios:
    """Ratios in a snapshot; raises `ConfigError`."""
    match snapshot.get("ratios"):
        case [int(least), int(most)] if 0 <= least <= most <= 100:
            return least, most
    raise ConfigError(f"{snapshot!r} is no snapshot of a heap that is steered by its free ratios")

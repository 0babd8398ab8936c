"""The heap of a JVM as a resource: SoftMaxHeapSize, or G1's free ratios, by the square-root rule."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from math import inf
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.heap_sizing import PRICE, Effort, HeapSizing
from quantum_control.resources.jvm_ratios import FLAG, OBEYING, kept_ratios, ratios_for
from quantum_control.resources.jvm_reading import HeapReading, Jvm
from quantum_control.resources.jvm_ways import may_be_elsewhere, open_jvm
from quantum_control.resources.quiet_moments import QuietMoments
from quantum_control.resources.reading import positive_int
from quantum_control.resources.setting_custody import HANDS_OFF_SECONDS, SettingCustody, hands_off_seconds
from quantum_control.resources.stock import Stock
from quantum_control.sources.resident import resident_bytes

__all__ = ["FLAG", "MIN_HEAP", "OBEYING", "JvmHeap"]

_log = logging.getLogger("quantum_control")

MIN_HEAP = 16 * 2**20
"""Bytes, where no bound is given: HotSpot would take one of a megabyte, and never stop collecting."""


class JvmHeap(Resource):
    """Steers the heap of a JVM that runs ZGC or Shenandoah, by its SoftMaxHeapSize in bytes.

    G1 is steered by its free ratios instead: see `FreeRatios`.

    Demand is the heap at which collecting and memory are in balance: see
    `HeapSizing`. It grows at once and shrinks slowly.

    Parameters
    ----------
    process_id
        The JVM on this machine. Needs its user, or root.
    metric_source
        "jmx://host:port" reads and sets over JMX instead (see `sources.jmx`);
        with `process_id` too, the collector's processor time is read of its threads.
    price
        Cores that one GiB is worth: the larger, the smaller the heap.
    min_heap, max_heap
        Bounds in bytes; by default 16 MiB and the JVM's -Xmx.
    collect_when_quiet
        Ask for a collection when next to nothing is allocated and a quarter of
        the heap is garbage, unless `steers_while_measuring` is False. The
        measurement waits for its end, a minute at the most.
    hands_off
        Seconds for which a size that somebody else has set is left alone. From
        then on it is what is put back.
    jvm
        The JVM itself, in place of the first two.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        A parameter is wrong, or the JVM's collector cannot be steered.
    SensorError
        The JVM cannot be reached.

    As a context manager it calls `release()` at the end.
    """

    unit = "bytes"

    def __init__(
        self,
        process_id: int | None = None,
        metric_source: str | None = None,
        *,
        price: float = PRICE,
        min_heap: int = MIN_HEAP,
        max_heap: int | None = None,
        collect_when_quiet: bool = False,
        hands_off: float = HANDS_OFF_SECONDS,
        jvm: Jvm | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not 0.0 < price < inf:
            raise ConfigError(f"price={price!r}: cores that one GiB is worth, a positive number")
        hands_off_seconds(hands_off)
        self.min_size = positive_int("min_heap", min_heap)
        self._pid = process_id
        self._jvm = jvm if jvm is not None else open_jvm(process_id, metric_source)
        self.outlives_boot = may_be_elsewhere(process_id, metric_source)
        self.steers_while_measuring = collect_when_quiet
        self._quiet = QuietMoments()
        self._max_heap = max_heap
        try:
            self._ratios = ratios_for(self._jvm)
            if self._ratios is not None:
                self._jvm = self._ratios
            self._last = self._jvm.read()
            self._custody = SettingCustody(f"{FLAG} of {self._jvm!r}", self._jvm.flag(FLAG), hands_off, clock)
        except BaseException:
            self._jvm.close()
            raise
        self.started_anew = (0, 0)
        """How often another run of the JVM was found, and the size in force then."""
        self.max_size = positive_int("max_heap", max_heap or self._last.maximum)
        if not self.min_size <= self.max_size <= self._last.maximum:
            raise ConfigError(
                f"min_heap={self.min_size}, max_heap={self.max_size}: min <= max <= -Xmx"
                f" ({self._last.maximum}) is needed"
            )
        self._bound = self.max_size  # as whoever asked has taken it; another run may have less
        self._sizing = HeapSizing(price)
        self._stock = Stock()
        self._metrics: dict[str, float] = {}

    # ---- the contract ---------------------------------------------------------------------------

    def measure_state(self) -> ResourceState:
        """Measure since the previous call: the heap that would be right over the one in force.

        Raises
        ------
        SensorError
            The JVM cannot be asked; the size stays as it is.
        """
        now = self._jvm.read()
        in_force = self._jvm.flag(FLAG)
        last, self._last = self._last, now
        if now.started != last.started:
            self._greet(in_force)
            return ResourceState.from_demand(self._told(float(in_force), in_force), size=self._size(in_force))
        self._custody.notice(in_force)
        elapsed = now.time - last.time
        if not elapsed > 0.0:
            return ResourceState.from_demand(self._told(float(in_force), in_force), size=self._size(in_force))
        effort = Effort(
            seconds=elapsed,
            live=now.live,
            allocated=max(0.0, now.allocated - last.allocated),
            processor_seconds=max(0.0, now.collecting_seconds - last.collecting_seconds),
            collections=now.collections - last.collections,
        )
        worth = self._sizing.step(effort, self._size(in_force))
        self._metrics = self._figures(last, now, effort) | {"worth_bytes": worth}
        if self.steers_while_measuring and self._quiet.due(now, effort.allocated / elapsed):
            self._collect()
        return ResourceState.from_demand(self._told(worth, in_force), size=self._size(in_force))

    def apply_control(self, new_size: int) -> None:
        """Set SoftMaxHeapSize to `new_size` bytes, -Xmx at the most, and read it back.

        The size found puts back the setting found, or what somebody else has set since.

        Raises
        ------
        ConfigError
            Not a positive integer.
        SafetyError
            Somebody else has set it within the last `hands_off` seconds.
        ActuatorError
            The JVM did not take it, and the flag is what it was before; or it
            did not answer in time, and the flag is the one or the other.
        """
        positive_int("new_size", new_size)
        custody = self._custody
        try:
            custody.notice(self._jvm.flag(FLAG))
        except SensorError as error:
            raise ActuatorError(f"setting the heap to {new_size} bytes: {error}") from error
        # The size of the original stands for a flag of 0, too; that of the one before it, for what somebody
        # else has set and nobody has measured yet.
        before = custody.theirs and new_size == self._size(custody.replaced)
        back = before or new_size == self._size(custody.original)
        custody.order(custody.original if back else min(new_size, self._last.maximum), self._set)

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the first.

        `allocation_bytes_per_second`; `live_bytes`: after the last collection;
        `used_bytes`, `committed_bytes`; `gc_cores`: processor time of the
        collector per second; `pause_share`: part of the time that the program
        stood still; `collections_per_second` (of a local JVM: pauses);
        `collection_seconds`: processor seconds of one that makes use of the
        whole room; `worth_bytes`: demand before it is bounded; `cliff_bytes`:
        the heap below which collecting was dear, 0 if none is known; with a
        `process_id`, `resident_bytes`: memory of the machine that the process
        holds, and `resident_over_used`: how often the heap in use would fit in;
        `set_by_hand`: 1 while a size set by somebody else is left alone; of another
        run of the JVM whose `-Xmx` is below the bounds, `useful_size`: that.
        """
        by_hand = float(self._custody.left_alone > 0.0)
        most = self._last.maximum
        smaller = {"useful_size": float(most)} if most < self._bound else {}
        return self._metrics | {"set_by_hand": by_hand} | smaller

    # ---- restoring ------------------------------------------------------------------------------

    @property
    def found_anew(self) -> int:
        """How often `snapshot()` has changed: with each run of the JVM, and what somebody else has set."""
        return self._custody.found_anew

    def snapshot(self) -> dict[str, object]:
        """The flag as it was found, or set by somebody else since, and of which run of the JVM."""
        value = self._custody.original
        kept = {"flag": FLAG, "value": value, "started": self._last.started}
        if self._ratios is None:
            return kept
        return kept | {"value": 0, "ratios": list(self._ratios.standing(value))}

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put the flag of a snapshot back.

        A JVM that was started anew since has its own setting, and what somebody
        else has set within the last `hands_off` seconds stays.

        Raises
        ------
        ConfigError
            This is no snapshot of a heap.
        SensorError, ActuatorError
            The JVM cannot be asked, or refuses.
        """
        value, started = snapshot.get("value"), snapshot.get("started")
        if snapshot.get("flag") != FLAG or not isinstance(value, int):
            raise ConfigError(f"{snapshot!r} is no snapshot of a JVM's heap")
        if self._jvm.read().started != started:
            _log.warning("%r was started anew since the snapshot; nothing is put back", self._jvm)
            return
        self._custody.notice(self._jvm.flag(FLAG))
        if self._custody.theirs:
            return
        if self._ratios is not None:
            self._ratios.original = kept_ratios(snapshot)
        self._custody.order(value, self._set)
        self._custody.original = value

    def release(self) -> None:
        """Let go of the JVM; for after `stop()`."""
        self._jvm.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()

    def __repr__(self) -> str:
        return f"<JvmHeap of {self._jvm!r}: {self._custody.ordered} bytes>"

    # ---- within ---------------------------------------------------------------------------------

    def _set(self, flag: int) -> int:
        self._jvm.set_flag(FLAG, flag)
        return flag

    def _size(self, flag: int) -> float:
        """Heap that the collector works with: a flag of 0, or one that is too large, is -Xmx."""
        return float(min(flag or self._last.maximum, self._last.maximum))

    def _told(self, worth: float, in_force: int) -> float:
        return self._stock.demand(
            max(self.min_size, min(worth, float(self.max_size or inf))), self._size(in_force)
        )

    def _greet(self, in_force: int) -> None:
        """Begin anew with a JVM that was started since the last measurement."""
        _log.warning("%r was started anew; its %s is %d", self._jvm, FLAG, in_force)
        self._sizing.forget()
        self.max_size = min(self._max_heap or self._last.maximum, self._last.maximum)
        self._custody.begin(in_force)
        self.started_anew = self.started_anew[0] + 1, round(self._size(in_force))

    def _collect(self) -> None:
        """Ask for a collection; that there was none is no reason to know nothing of the heap."""
        try:
            self._jvm.collect()
        except ActuatorError as error:
            _log.warning("%s", error)

    def _resident(self, now: HeapReading) -> dict[str, float]:
        """Memory that the process holds against what its program uses, where that can be seen."""
        with suppress(SensorError):
            if self._pid is not None:
                resident = float(resident_bytes(self._pid, now.committed))
                return {"resident_bytes": resident, "resident_over_used": resident / max(1, now.used)}
        return {}

    def _figures(self, last: HeapReading, now: HeapReading, effort: Effort) -> dict[str, float]:
        return self._resident(now) | {
            "allocation_bytes_per_second": effort.allocated / effort.seconds,
            "live_bytes": now.live,
            "used_bytes": float(now.used),
            "committed_bytes": float(now.committed),
            "gc_cores": max(0.0, now.collector_seconds - last.collector_seconds) / effort.seconds,
            "pause_share": (now.pause_seconds - last.pause_seconds) / effort.seconds,
            "collections_per_second": effort.collections / effort.seconds,
            "collection_seconds": self._sizing.collection_seconds,
            "cliff_bytes": self._sizing.cliff,
        }

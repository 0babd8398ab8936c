"""The arms of the heap benchmark: what sets SoftMaxHeapSize while the program runs."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from math import nan, sqrt

from quantum_control.core.controller import QuantumController
from quantum_control.core.resource import Resource
from quantum_control.daemon.shadow import Shadow
from quantum_control.resources.heap_sizing import GIB, PRICE
from quantum_control.resources.jvm_heap import FLAG, MIN_HEAP, JvmHeap
from quantum_control.resources.jvm_local import LocalJvm
from quantum_control.resources.jvm_reading import Jvm

MIB = 2**20

INTERVAL = 0.5
"""Seconds between two steps of whatever steers."""

FIXED = (300, 450, 675, 1000)
"""Sizes of the fixed heaps, MiB."""

DEFAULT, RULE = "default", "square-root rule"

MODELS = ("optomechanical", "parametric", "coherent")

RATE_MEMORY = 0.95
"""Weight of the past in MemBalancer's allocation rate, a second."""

SPEED_MEMORY = 0.5
"""The same of its collecting speed, from one collection to the next."""


class Steering(ABC):
    """What sets the heap; `cost` is the processor time of its steps, in seconds."""

    def __init__(self) -> None:
        self.cost = 0.0

    def step(self) -> None:
        """One interval has passed."""
        began = time.thread_time()
        self._step()
        self.cost += time.thread_time() - began

    @abstractmethod
    def _step(self) -> None:
        """Measure and set."""


class Still(Steering):
    """The heap stays as it was given at the start."""

    def step(self) -> None:
        """Nothing to do, and nothing to count."""

    def _step(self) -> None:
        """Nothing."""


class Rule(Steering):
    """MemBalancer's limit L + sqrt(L·g/(s·c)), set as it comes out.

    g is smoothed by `RATE_MEMORY`, s (live set over processor seconds of a
    collection) by `SPEED_MEMORY`, c is the price of a byte.
    """

    def __init__(self, jvm: Jvm, price: float, interval: float = INTERVAL) -> None:
        super().__init__()
        self._jvm = jvm
        self._memory = RATE_MEMORY**interval
        self._price = price / GIB
        self._last = self._jvm.read()
        self._rate = self._speed = nan
        self._pending = 0.0  # processor seconds since the last collection that was seen

    def _step(self) -> None:
        now, last = self._jvm.read(), self._last
        self._last = now
        rate = (now.allocated - last.allocated) / (now.time - last.time)
        self._rate = rate if self._rate != self._rate else rate + self._memory * (self._rate - rate)
        self._pending += now.collector_seconds - last.collector_seconds
        collections = (now.collections - last.collections) / 3.0  # ZGC pauses three times
        if collections >= 1.0 and self._pending > 0.0 and now.live == now.live:
            speed = now.live * collections / self._pending
            self._pending = 0.0
            self._speed = (
                speed if self._speed != self._speed else speed + SPEED_MEMORY * (self._speed - speed)
            )
        if self._speed == self._speed and now.live == now.live:
            limit = now.live + sqrt(now.live * self._rate / (self._speed * self._price))
            self._jvm.set_flag(FLAG, round(min(max(limit, MIN_HEAP), now.maximum)))


class Ours(Steering):
    """The controller with one of its laws.

    Parameters
    ----------
    jvm
        What is steered.
    model, price
        Its law; cores that one GiB is worth.
    interval
        Seconds between steps.
    tuned
        Whether it tunes itself.
    watched
        Whether it only looks, and changes nothing.
    clock
        Seconds.
    """

    def __init__(
        self,
        jvm: Jvm,
        model: str,
        price: float,
        *,
        interval: float = INTERVAL,
        tuned: bool = False,
        watched: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.resource: Resource = JvmHeap(jvm=jvm, price=price, clock=clock)
        self.controller = QuantumController(
            Shadow(self.resource) if watched else self.resource,
            model,
            auto_tune=tuned,
            interval=interval,
            clock=clock,
        )

    def _step(self) -> None:
        self.controller.optimize()


def fixed(size: int) -> str:
    """Name of the arm with a fixed heap of `size` MiB."""
    return f"fixed {size} MiB"


SOFT: Mapping[str, int] = {fixed(size): size for size in FIXED}
"""Fixed arms: MiB of heap from the start."""

ARMS = (DEFAULT, *SOFT, RULE, *MODELS)


def start(name: str, pid: int, price: float = PRICE) -> Steering:
    """What steers in the arm `name`."""
    if name == RULE:
        return Rule(LocalJvm(pid), price)
    if name in MODELS:
        return Ours(LocalJvm(pid), name, price)
    return Still()

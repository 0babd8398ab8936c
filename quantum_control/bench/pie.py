"""PIE, which keeps a queue short by dropping at random: the peer of a limit that is steered.

Pan et al., "Proportional Integral Controller Enhanced (PIE)", RFC 8033 (2017), with the numbers of
Linux' `sch_pie`. Where the kernel has no `pie` this is its law in user space: the probability follows from
the delay every 15 ms, and an eBPF program drops with it as packets come, before they are queued, as
`sch_pie` does. What differs: the delay is the backlog over the rate at which it drains (RFC 8033, 4.2)
where the kernel looks at the time of packets; and whether almost nothing waits, so that nothing is
dropped, is looked at every 15 ms, not at every packet.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from quantum_control.bench.network_bed import BOTTLENECK, FRAME, NetworkBed
from quantum_control.bench.random_drop import RandomDrop
from quantum_control.core.errors import SensorError
from quantum_control.resources.netlink import ROOT, Netlink, Qdisc
from quantum_control.resources.queue_kinds import KINDS

TARGET = 0.015
"""Seconds of delay that it aims at (`target`)."""

PERIOD = 0.015
"""Seconds between two updates of the probability (`tupdate`)."""

ALPHA, BETA = 2.0 / 16.0, 20.0 / 16.0
"""Gains of the deviation from the target and of its change, 1/s."""

BURST = 0.15
"""Seconds for which nothing is dropped after a quiet time."""

LONG = 0.25
"""Seconds of delay beyond which the probability rises by `STEP` more."""

STEP = 0.02
"""Most that a probability of 0.1 or more rises by at once."""


class Pie:
    """Control law: from the delay of a queue to the probability of a drop."""

    def __init__(self, target: float = TARGET) -> None:
        self.target = target
        self.probability = 0.0
        self._burst = BURST
        self._before = 0.0  # delay at the last update

    def update(self, delay: float, waiting: float) -> float:
        """Probability for the next `PERIOD`, from the delay (s) and what waits (bytes) now."""
        self._burst = max(0.0, self._burst - PERIOD)
        change = ALPHA * (delay - self.target) + BETA * (delay - self._before)
        if self.probability < 0.1:
            # Small probabilities move in small steps (RFC 8033, 5.2), as `sch_pie` has it.
            change /= 2.0
            power = 100.0
            while self.probability < 1.0 / power and power <= 1e6:
                change /= 4.0
                power *= 10.0
        elif change > STEP:
            change = STEP
        if delay > LONG:
            change += STEP
        self.probability = min(1.0, max(0.0, self.probability + change))
        if delay == self._before == 0.0:
            self.probability *= 1.0 - 1.0 / 64.0
        quiet = max(delay, self._before) < self.target / 2.0
        self._before = delay
        if quiet and self.probability == 0.0:
            self._burst = BURST
        spared = delay < self.target / 2.0 and self.probability < 0.2
        return 0.0 if self._burst > 0.0 or spared or waiting < 2 * FRAME else self.probability


class PieQueue:
    """PIE at the bottleneck of a network of ours, a step every `PERIOD`.

    Parameters
    ----------
    bed
        The network.
    target
        As of `Pie`.
    clock
        Seconds.

    Raises
    ------
    ConfigError
        The kernel does not let packets be dropped by eBPF.
    """

    interval = PERIOD

    def __init__(
        self, bed: NetworkBed, *, target: float = TARGET, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._law = Pie(target)
        self._clock = clock
        self._netlink = Netlink(bed.netns)
        index = self._index = self._netlink.link(BOTTLENECK).index
        self._drop = bed.router.call(lambda: RandomDrop(index))
        self._before = (0.0, 0, 0)  # time, bytes sent, bytes waiting
        self._rate = 0.0
        self.cpu = 0.0
        """Processor seconds of the steps."""
        self.sizes: list[int] = []
        """Limit after each, bytes."""

    def step(self) -> None:
        """A period has passed."""
        began = time.thread_time()
        queue = self._queue()
        now, waiting = self._clock(), queue.backlog_bytes
        then, sent, waited = self._before
        if now > then:
            rate = (queue.sent_bytes - sent) / (now - then)
            # What leaves a queue that runs empty is a lower bound of what could.
            self._rate = rate if min(waited, waiting) >= FRAME else max(self._rate, rate)
            self._drop.set(self._law.update(waiting / self._rate if self._rate else 0.0, waiting))
            self._before = now, queue.sent_bytes, waiting
        self.cpu += time.thread_time() - began
        self.sizes.append(KINDS[queue.kind].limit(queue.options))

    def waiting(self) -> int:
        """Bytes in the queue."""
        return self._queue().backlog_bytes

    def close(self) -> None:
        """Let everything pass again."""
        self._drop.close()
        self._netlink.close()

    def _queue(self) -> Qdisc:
        queue = self._netlink.qdisc(self._index, ROOT)
        if queue is None:
            raise SensorError(f"{BOTTLENECK} has lost its queue discipline")
        return queue

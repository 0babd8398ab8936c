"""Sensor checks: an answer that is late, old or runs backwards is none; frozen ones shrink nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from math import inf

from quantum_control.core.errors import GoneError, SensorError
from quantum_control.core.resource import Resource, ResourceState

_log = logging.getLogger("quantum_control")

FROZEN_AFTER = 60
"""Measurements in a row, equal to the last digit, after which the sensor is taken for frozen."""


class Frozen:
    """A link that lets nothing shrink while answers do not change though work waits.

    So answers a sensor that is frozen, and so does a live one whose resource is
    saturated: a bounded queue that is full, at a size that is at its bound, cut
    by a budget or paused. Both say that more is needed. To put the original
    back would shrink what is overloaded; to refuse it more would starve it when
    there is room again, and keeps little from a frozen sensor, which has had
    `after` intervals to grow in. That goes as far as the bounds. A sensor that
    says when it measured (`ResourceState.time`) is found by its age instead,
    which is a failure.

    Parameters
    ----------
    after
        Equal answers in a row from which on nothing shrinks.
    name
        Of the resource, for the log.
    """

    def __init__(self, after: int, name: str) -> None:
        self._after = after
        self._name = name
        self._last: tuple[object, ...] = ()
        self._equal = 0  # answers in a row that were as the one before

    def look(self, state: ResourceState, metrics: Mapping[str, float]) -> None:
        """Compare an answer with the last one."""
        if not state.position > 0.0:
            self._equal, self._last = 0, ()
            return
        # The demand, rounded: it is computed back from a position, which differs in the last bits as
        # the size moves.
        answer = (f"{state.demand:.9g}", *metrics.items())
        self._equal = self._equal + 1 if answer == self._last else 0
        self._last = answer
        if self._equal == self._after:
            _log.warning("%s: %s; the size is not made smaller until they change", self._name, self._why)

    def allow(self, state: ResourceState, size: int, wanted: int, /) -> tuple[int, str]:  # noqa: ARG002 - a Link
        """Refuse to shrink while nothing changes."""
        return (size, self._why) if wanted < size and self._equal >= self._after else (wanted, "")

    @property
    def _why(self) -> str:
        return (
            f"{self._equal + 1} measurements in a row are equal to the last digit while work waits:"
            " the sensor is frozen, or the resource saturated"
        )


class Checked(Resource):
    """A resource whose answers are checked before they are believed; steer it in its place.

    What is impossible by itself (no number, a negative demand) is found by the
    estimator. Here is what takes a memory or a clock.

    Parameters
    ----------
    resource
        What is measured.
    deadline
        Seconds after which an answer is too old to act on: since it was asked
        for and, where the resource says when it was measured
        (`ResourceState.time`), since then.
    frozen_after
        Equal answers in a row, with work waiting, from which on `frozen` lets
        nothing shrink.
        Without work waiting an equal answer is no news.
    clock
        Seconds, never backwards.
    name
        Of the resource, for the log.
    """

    def __init__(
        self,
        resource: Resource,
        deadline: float,
        frozen_after: int = FROZEN_AFTER,
        clock: Callable[[], float] = time.monotonic,
        name: str = "",
    ) -> None:
        self.resource = resource
        self.min_size, self.max_size, self.unit = resource.min_size, resource.max_size, resource.unit
        self.frozen = Frozen(frozen_after, name or type(resource).__name__)
        """Link that lets nothing shrink while answers do not change; give it to the controller."""
        self.gone = False
        """Whether what is steered has ended: what comes under its name is another one."""
        self._deadline = deadline
        self._clock = clock
        self._metrics: dict[str, float] = {}
        self._stamp = -inf  # latest time at which an answer says it was measured
        self._least = inf  # smallest difference seen between our clock and theirs: transport, and the clocks'

    @property
    def found_anew(self) -> int:
        """How often the resource has come upon another original."""
        return int(getattr(self.resource, "found_anew", 0))

    def measure_state(self) -> ResourceState:
        """Measure, and check the answer.

        Raises
        ------
        SensorError
            It came too late, is too old, or was measured before the last one.
        """
        asked = self._clock()
        try:
            state = self.resource.measure_state()
        except GoneError:
            self.gone = True
            raise
        self._metrics = self.resource.get_metrics()
        now = self._clock()
        if now - asked > self._deadline:
            raise SensorError(
                f"the answer took {now - asked:.3g} s; after {self._deadline:g} s it is too old to act on"
            )
        if state.time == state.time:
            self._check_age(state.time, now)
        self.frozen.look(state, self._metrics)
        return state

    def apply_control(self, new_size: int) -> None:
        """Set the size."""
        self.resource.apply_control(new_size)

    def get_metrics(self) -> dict[str, float]:
        """Metrics of the last measurement."""
        return self._metrics

    def _check_age(self, stamp: float, now: float) -> None:
        if stamp < self._stamp:
            back = self._stamp - stamp
            self._stamp, self._least = (
                stamp,
                now - stamp,
            )  # a clock that was set back is believed from here on
            raise SensorError(f"it was measured {back:.3g} s before the measurement before it")
        self._stamp = stamp
        # Theirs may be another clock: an answer is as old as it is behind the quickest one so far.
        self._least = min(self._least, now - stamp)
        age = now - stamp - self._least
        if age > self._deadline:
            raise SensorError(f"the measurement is {age:.3g} s old, more than {self._deadline:g} s")

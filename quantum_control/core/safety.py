"""The guard between what a law wants and what is applied."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, floor, inf

from quantum_control.core.errors import ConfigError


def positive_int(name: str, value: object) -> int:
    """Return `value`, given as `name`, if it is an integer of 1 or more.

    Raises
    ------
    ConfigError
        It is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigError(f"{name} is {value!r}; it must be a whole number, 1 or more")
    return value


@dataclass(frozen=True, slots=True)
class Bounds:
    """Hard bounds of a size, both inclusive.

    Raises
    ------
    ConfigError
        A bound is not a positive integer, or `minimum` is above `maximum`.
    """

    minimum: int = 1
    maximum: int | None = None

    def __post_init__(self) -> None:
        for name in ("minimum", "maximum"):
            value = getattr(self, name)
            if value is None and name == "maximum":
                continue
            positive_int(f"{name} size", value)
        if self.maximum is not None and self.minimum > self.maximum:
            raise ConfigError(
                f"minimum size {self.minimum} is above maximum size {self.maximum}; exchange or correct them"
            )

    def clip(self, size: float) -> float:
        """Nearest size within the bounds; a bound as the integer that it is, however large."""
        if size < self.minimum:
            return self.minimum
        if self.maximum is not None and size > self.maximum:
            return self.maximum
        return size


@dataclass(frozen=True, slots=True)
class GuardSettings:
    """Limits of how a size may move.

    Parameters
    ----------
    slew_up, slew_down
        Slew limit: largest factor by which the size grows or shrinks in one
        interval; one unit is always allowed. Above 1.
    dead_band
        Relative changes smaller than this are not worth applying. In [0, 1).
    hysteresis
        Added to the dead band when the change reverses the one before. In [0, 1).

    Raises
    ------
    ConfigError
        A value is outside its range.
    """

    slew_up: float = 10.0
    slew_down: float = 2.0
    dead_band: float = 0.0
    hysteresis: float = 0.0

    def __post_init__(self) -> None:
        for name in ("slew_up", "slew_down"):
            factor = getattr(self, name)
            if not 1.0 < factor <= inf:
                raise ConfigError(f"{name}={factor!r}: a slew limit is a factor above 1, such as 2.0")
        for name in ("dead_band", "hysteresis"):
            share = getattr(self, name)
            if not 0.0 <= share < 1.0:
                raise ConfigError(f"{name}={share!r}: a share of the size, 0 or more and below 1")


class Guard:
    """Bounds, slew limit, dead band and hysteresis, in the order in which they act.

    The slew limit holds whatever the bounds: a size found outside of them is
    brought inside at that rate. `allow` keeps the direction of the last change
    and nothing else, so that there is nothing to wind up.
    """

    def __init__(self, bounds: Bounds, settings: GuardSettings | None = None) -> None:
        self.bounds = bounds
        self.settings = settings or GuardSettings()
        self._direction = 0

    def allow(self, size: int, wanted: float, intervals: float = 1.0) -> tuple[int, str]:
        """Size to apply instead of `wanted`, given the `size` ordered last, and why if it differs.

        `intervals` is the time since the last call in nominal intervals; the
        slew limit is a rate. A `wanted` that is no number leaves the size as it is.
        """
        if wanted != wanted:
            return size, "the law answered no number"
        settings, bounds = self.settings, self.bounds
        reason = ""
        target = bounds.clip(wanted)
        if target != wanted:
            reason = "maximum" if wanted > target else "minimum"
        rising = target > size
        limit = settings.slew_up if rising else settings.slew_down
        if intervals < 1.0:  # and no more than one interval's worth: what a gap left unused is not saved up
            limit **= intervals
        if rising:
            if target > size * limit and target > size + 1.0:
                target, reason = floor(max(size * limit, size + 1.0)), "slew limit"
        elif target < size / limit and target < size - 1.0:
            target, reason = ceil(min(size / limit, size - 1.0)), "slew limit"
        if target == float(size):  # also where floats no longer tell a size from the next
            return size, reason
        if target == inf:
            return size, "no size is that large"
        allowed = round(target)
        if allowed == size:
            return size, reason
        direction = 1 if allowed > size else -1
        band = settings.dead_band
        if direction == -self._direction:
            band += settings.hysteresis
        if abs(allowed - size) < band * size and bounds.clip(size) == size:
            return size, "dead band" if band == settings.dead_band else "hysteresis"
        self._direction = direction
        return allowed, reason

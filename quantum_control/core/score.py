"""How good a law's predictions are, against what then happened."""

from __future__ import annotations

from math import nan

MEMORY = 0.02
"""Weight of one prediction in the means: a memory of 50 intervals."""


class PredictionScore:
    """Running mean of |predicted - measured demand| over the size, beside that of "as it is now".

    Only positive skill means that the law knows something of the future.
    """

    __slots__ = ("_last", "_predicted", "error", "naive_error")

    def __init__(self) -> None:
        self.error = nan
        """Mean error of the law's predictions, relative to the size. Unit 1; nan before the second step."""
        self.naive_error = nan
        """The same if each prediction had been the demand last seen."""
        self._predicted = nan
        self._last = nan

    @property
    def skill(self) -> float:
        """1 is perfect, 0 no better than "as it is now", negative worse; nan before there is an error."""
        return 1.0 - self.error / self.naive_error if self.naive_error else nan

    def predict(self, demand: float, now: float) -> None:
        """Note the demand predicted for the next interval, and that of `now`."""
        self._predicted = demand
        self._last = now

    def observe(self, demand: float, size: float) -> None:
        """Compare the last prediction, if any, with the demand that came, relative to `size`."""
        if self._predicted != self._predicted:
            return
        error = abs(self._predicted - demand) / size
        naive = abs(self._last - demand) / size
        if self.error != self.error:
            self.error, self.naive_error = error, naive
        else:
            self.error += MEMORY * (error - self.error)
            self.naive_error += MEMORY * (naive - self.naive_error)
        self._predicted = nan

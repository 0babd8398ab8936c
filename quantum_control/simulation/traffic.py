"""What a generator of loads returns: arrivals, and the intensity behind them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Work arriving in each interval of each run; both arrays are of shape (steps, runs).

    A row is one interval of all runs, so that a simulation which steps through
    time reads contiguous memory.
    """

    arrivals: FloatArray
    """New demand of each interval. As size."""
    intensity: FloatArray
    """Its mean, given all that a clairvoyant about intensities (not noise) could know. As size."""

    @property
    def steps(self) -> int:
        """Intervals per run."""
        return len(self.arrivals)

    @property
    def runs(self) -> int:
        """Independent runs."""
        return len(self.arrivals[0])


def poisson(rng: np.random.Generator, intensity: FloatArray) -> Traffic:
    """Draw Poisson counts around `intensity`: demand made of countable, independent things."""
    return Traffic(arrivals=rng.poisson(intensity).astype(np.float64), intensity=intensity)

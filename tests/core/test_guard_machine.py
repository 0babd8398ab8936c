"""No sequence of inputs yields a size outside its bounds, or a change faster than the slew limit."""

from math import ceil, floor

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from quantum_control import GuardSettings
from quantum_control.core.safety import Bounds, Guard

SIZES = st.integers(1, 10**9)
FACTORS = st.floats(1.01, 100.0)
SHARES = st.floats(0.0, 0.9)


class Guarded(RuleBasedStateMachine):
    """A size that goes through the guard again and again, and is now and then set by somebody else."""

    @initialize(
        size=SIZES,
        low=SIZES,
        room=st.none() | st.integers(0, 10**9),
        up=FACTORS,
        down=FACTORS,
        band=SHARES,
        more=SHARES,
    )
    def begin(self, size, low, room, up, down, band, more):
        self.size = size
        self.bounds = Bounds(low, None if room is None else low + room)
        self.settings = GuardSettings(up, down, band, more)
        self.guard = Guard(self.bounds, self.settings)

    @rule(
        wanted=st.floats(allow_nan=True, allow_infinity=True) | st.integers(-(10**12), 10**12),
        intervals=st.floats(0.001, 1000.0),
    )
    def step(self, wanted, intervals):
        before = self.size
        self.size, reason = self.guard.allow(before, wanted, intervals)
        # Inside it stays inside; found outside it is brought inside, never further out.
        assert self.outside(self.size) <= self.outside(before)
        share = min(intervals, 1.0)
        assert self.size <= max(floor(before * self.settings.slew_up**share), before + 1)
        assert self.size >= min(ceil(before / self.settings.slew_down**share), before - 1)
        assert isinstance(self.size, int)
        if wanted == wanted and self.size != before:
            assert (self.size > before) == (self.bounds.clip(wanted) > before)
        if wanted == wanted and abs(self.size - wanted) > 1.0:
            assert reason

    def outside(self, size):
        """How far a size is from its bounds."""
        return abs(size - self.bounds.clip(size))

    @rule(size=SIZES)
    def somebody_sets_it(self, size):
        self.size = size


Guarded.TestCase.settings = settings(max_examples=150, stateful_step_count=30)
TestGuarded = Guarded.TestCase

from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from quantum_control import ConfigError, GuardSettings
from quantum_control.core.safety import Bounds, Guard

# ---- bad input ----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, -1, 2.5, 3.0, nan, "4", True])
@pytest.mark.parametrize("bound", ["minimum", "maximum"])
def test_a_bound_is_a_positive_integer(bound: str, size: object) -> None:
    with pytest.raises(ConfigError, match=f"{bound} size is .* whole number"):
        Bounds(**{bound: size})  # type: ignore[arg-type]


def test_a_minimum_there_must_be() -> None:
    with pytest.raises(ConfigError, match="minimum size is None"):
        Bounds(None)  # type: ignore[arg-type]


def test_the_minimum_is_not_above_the_maximum() -> None:
    with pytest.raises(ConfigError, match="minimum size 5 is above maximum size 4"):
        Bounds(5, 4)
    assert Bounds(5, 5).clip(7.0) == 5


@pytest.mark.parametrize("factor", [1.0, 0.5, 0.0, -2.0, nan])
@pytest.mark.parametrize("name", ["slew_up", "slew_down"])
def test_a_slew_limit_is_a_factor_above_one(name: str, factor: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}=.*factor above 1"):
        GuardSettings(**{name: factor})


@pytest.mark.parametrize("share", [-0.1, 1.0, nan, inf])
@pytest.mark.parametrize("name", ["dead_band", "hysteresis"])
def test_a_band_is_a_share_of_the_size(name: str, share: float) -> None:
    with pytest.raises(ConfigError, match=f"{name}=.*share of the size"):
        GuardSettings(**{name: share})


# ---- bounds -------------------------------------------------------------------------------------


def guard(minimum: int = 1, maximum: int | None = None, **settings: float) -> Guard:
    return Guard(Bounds(minimum, maximum), GuardSettings(**settings))


def test_what_is_wanted_is_allowed_where_nothing_forbids_it() -> None:
    assert guard().allow(10, 14.0) == (14, "")


def test_it_is_rounded_to_whole_units() -> None:
    assert guard().allow(10, 13.6) == (14, "")
    assert guard().allow(10, 10.4) == (10, "")


@pytest.mark.parametrize(("wanted", "allowed", "reason"), [(25.0, 20, "maximum"), (2.0, 5, "minimum")])
def test_bounds_hold(wanted: float, allowed: int, reason: str) -> None:
    assert guard(5, 20).allow(10, wanted) == (allowed, reason)


@pytest.mark.parametrize("size", [10**9, 2**53 - 1, 2**53 + 1, 10**18, 10**18 - 1, 10**18 + 1])
def test_bounds_hold_to_the_unit_however_large(size: int) -> None:
    assert guard(1, size).allow(size // 2, inf) == (size, "maximum")
    assert guard(size, None).allow(size, 1.0) == (size, "minimum")
    assert guard(size, None).allow(size + size // 3, 1.0) == (size, "minimum")
    assert guard(1, size).allow(size, float(size) * 1.01) == (size, "maximum")


@pytest.mark.parametrize("size", [1, 10**9, 10**18 - 1, 10**18 + 1])
def test_who_wants_what_there_is_gets_it(size: int) -> None:
    assert guard().allow(size, float(size)) == (size, "")


def test_a_size_outside_the_bounds_is_brought_inside_at_the_slew_rate() -> None:
    from_above, from_below = guard(5, 10), guard(50, 100)
    assert from_above.allow(1000, 1000.0) == (500, "slew limit")
    assert from_above.allow(16, 16.0) == (10, "maximum")
    assert from_below.allow(2, 2.0) == (20, "slew limit")
    assert from_below.allow(20, 20.0) == (50, "minimum")


def test_a_size_outside_the_bounds_is_brought_inside_whatever_the_dead_band() -> None:
    assert guard(1, 100, dead_band=0.5).allow(101, 101.0) == (100, "maximum")


# ---- slew limit ---------------------------------------------------------------------------------


def test_no_interval_changes_the_size_by_more_than_a_factor() -> None:
    assert guard(slew_up=3.0).allow(10, 500.0) == (30, "slew limit")
    assert guard(slew_down=2.0).allow(10, 1.0) == (5, "slew limit")


def test_one_unit_is_always_allowed() -> None:
    assert guard(slew_up=1.01).allow(10, 12.0) == (11, "slew limit")
    assert guard(slew_down=1.01).allow(10, 8.0) == (9, "slew limit")
    assert guard().allow(10, 20.0, intervals=1e-9) == (11, "slew limit")


@given(st.integers(2, 20))
def test_the_slew_limit_is_a_rate(parts: int) -> None:
    size = 10**12
    for _ in range(parts):
        size, _ = guard(slew_up=8.0).allow(size, inf, 1.0 / parts)
    assert size == pytest.approx(8 * 10**12, rel=1e-9)


def test_what_was_not_used_in_a_gap_is_not_saved_up() -> None:
    assert guard(slew_up=2.0).allow(10, 1000.0, intervals=60.0) == (20, "slew limit")


def test_without_a_slew_limit_a_size_moves_at_once() -> None:
    free = guard(slew_up=inf, slew_down=inf)
    assert free.allow(1, 1e15) == (10**15, "")
    assert free.allow(10**15, 1.0) == (1, "")


# ---- what no number tells -----------------------------------------------------------------------


def test_what_is_no_number_leaves_the_size_as_it_is() -> None:
    assert guard().allow(10, nan) == (10, "the law answered no number")


def test_infinity_is_as_far_as_it_goes() -> None:
    assert guard(1, 40).allow(10, inf) == (40, "maximum")
    assert guard().allow(10, inf) == (100, "slew limit")
    assert guard().allow(10, -inf) == (5, "slew limit")
    assert guard(slew_up=inf).allow(10, inf) == (10, "no size is that large")


# ---- dead band and hysteresis -------------------------------------------------------------------


def test_changes_within_the_dead_band_are_not_made() -> None:
    steady = guard(dead_band=0.1)
    assert steady.allow(100, 109.0) == (100, "dead band")
    assert steady.allow(100, 91.0) == (100, "dead band")
    assert steady.allow(100, 110.0) == (110, "")


def test_turning_round_takes_more_than_going_on() -> None:
    stubborn = guard(dead_band=0.05, hysteresis=0.1)
    assert stubborn.allow(100, 110.0) == (110, "")
    assert stubborn.allow(110, 100.0) == (110, "hysteresis")
    assert stubborn.allow(110, 116.0) == (116, "")
    assert stubborn.allow(116, 98.0) == (98, "")
    assert stubborn.allow(98, 104.0) == (98, "hysteresis")


def test_hysteresis_alone_lets_small_steps_of_one_direction_pass() -> None:
    stubborn = guard(hysteresis=0.2)
    assert stubborn.allow(100, 101.0) == (101, "")
    assert stubborn.allow(101, 102.0) == (102, "")
    assert stubborn.allow(102, 101.0) == (102, "hysteresis")


# ---- any sequence of inputs ---------------------------------------------------------------------

wants = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.floats(0.0, 1e4),
    st.integers(1, 10**18).map(float),
)
sizes = st.one_of(st.integers(1, 50), st.integers(1, 10**9), st.integers(1, 10**18))
factors = st.one_of(st.floats(1.0, 20.0, exclude_min=True), st.just(inf))
shares = st.floats(0.0, 1.0, exclude_max=True)


class AnyInputs(RuleBasedStateMachine):
    """A guard between a law that may want anything and a resource that does as it is told."""

    @initialize(
        low=sizes,
        high=st.one_of(st.none(), sizes),
        start=sizes,
        up=factors,
        down=factors,
        dead_band=shares,
        hysteresis=shares,
    )
    def begin(
        self,
        low: int,
        high: int | None,
        start: int,
        up: float,
        down: float,
        dead_band: float,
        hysteresis: float,
    ) -> None:
        if high is not None and high < low:
            low, high = high, low
        self.bounds = Bounds(low, high)
        self.settings = GuardSettings(up, down, dead_band, hysteresis)
        self.guard = Guard(self.bounds, self.settings)
        self.size = start
        self.inside = self.is_inside(start)
        self.last_way = 0

    def is_inside(self, size: int) -> bool:
        return self.bounds.clip(size) == size

    @rule(wanted=wants, intervals=st.one_of(st.just(1.0), st.floats(0.0, 100.0)))
    def want(self, wanted: float, intervals: float) -> None:
        size = self.size
        allowed, reason = self.guard.allow(size, wanted, intervals)
        assert type(allowed) is int
        assert isinstance(reason, str)
        share = min(intervals, 1.0)
        exact = 1.0 + 1e-12  # floats
        assert allowed <= max(size * self.settings.slew_up**share * exact, size + 1)
        assert allowed >= min(size / self.settings.slew_down**share / exact, size - 1)
        way = (allowed > size) - (allowed < size)
        if way and self.is_inside(size):
            turning = way == -self.last_way
            band = self.settings.dead_band + (self.settings.hysteresis if turning else 0.0)
            assert abs(allowed - size) >= band * size
            # Never away from what is wanted, nor past it by more than rounding.
            assert (wanted - size) * way > 0.0
        self.last_way = way or self.last_way
        self.size = allowed
        self.inside = self.inside or self.is_inside(allowed)

    @rule(size=sizes)
    def somebody_else_sets(self, size: int) -> None:
        self.size = size
        self.inside = self.is_inside(size)

    @rule(repeats=st.integers(1, 20), wanted=wants)
    @precondition(lambda self: self.settings.dead_band == 0.0 and self.settings.hysteresis == 0.0)
    def nothing_winds_up(self, repeats: int, wanted: float) -> None:
        """However long something was wanted in vain, what is wanted next is answered as if never."""
        for _ in range(repeats):
            self.guard.allow(self.size, wanted)
        fresh = Guard(self.bounds, self.settings)
        assert self.guard.allow(self.size, 100.0) == fresh.allow(self.size, 100.0)

    @invariant()
    def once_inside_always_inside(self) -> None:
        if getattr(self, "inside", False):
            assert self.is_inside(self.size)
            assert self.size >= 1


AnyInputs.TestCase.settings = settings(max_examples=150, stateful_step_count=25, deadline=None)
TestAnyInputs = AnyInputs.TestCase


@given(sizes, sizes, st.floats(1.0, 1e18), st.floats(1.1, 10.0))
def test_every_wish_within_the_bounds_is_reached_in_the_end(
    start: int, top: int, wanted: float, factor: float
) -> None:
    free = guard(1, top, slew_up=factor, slew_down=factor)
    size = start
    for _ in range(1000):
        size, _ = free.allow(size, wanted)
    assert size == min(top, round(wanted)) or float(size) == wanted

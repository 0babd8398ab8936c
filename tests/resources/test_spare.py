"""How many connections stay open after the size has come down."""

from __future__ import annotations

from quantum_control.resources.spare import Spare


def open_after(spare, *course):
    """Sizes in force up to each moment, and what may be open then."""
    return [spare.most(size, now) for size, now in course]


def test_a_size_counts_for_the_given_time_and_at_most_for_twice_as_long():
    spare = Spare(10.0)
    assert open_after(spare, (60, 0.0), (60, 5.0), (4, 5.0)) == [60, 60, 60]
    assert open_after(spare, (4, 14.0)) == [60]
    assert open_after(spare, (4, 26.0)) == [4]


def test_what_was_large_long_ago_does_not_last_by_small_ups_and_downs():
    spare = Spare(10.0)
    spare.most(60, 0.0)
    assert open_after(spare, *[(9 + second % 2, float(second)) for second in range(1, 40)])[-1] == 10


def test_after_a_long_silence_only_the_size_in_force_counts():
    spare = Spare(10.0)
    spare.most(60, 0.0)
    spare.most(8, 0.0)
    assert spare.most(8, 500.0) == 8


def test_nothing_is_spared_for_no_time():
    assert open_after(Spare(0.0), (60, 0.0), (4, 0.0), (4, 1.0), (9, 1.0)) == [60, 4, 4, 9]

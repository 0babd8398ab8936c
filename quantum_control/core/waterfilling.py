"""Weighted max-min fairness: how a scarce capacity is shared."""

from __future__ import annotations

from collections.abc import Sequence

from quantum_control.core.errors import ConfigError


def water_fill(
    capacity: int, wants: Sequence[int], floors: Sequence[int], weights: Sequence[float]
) -> list[int]:
    """Share `capacity` by weighted max-min fairness.

    share_i = max(floor_i, min(want_i, L·weight_i))

    with the water level L at which the shares add up to the capacity, or at
    infinity if everybody's want fits in. Nobody gets more than he wants (his
    floor apart), and what he does not want goes to the others; who wants more
    than his weight's part can never push another below that other's part.

    Parameters
    ----------
    capacity
        What there is to share. As size.
    wants, floors
        For each: what he would take, and what he gets in any case. As size.
    weights
        For each: his part in a shortage, relative to the others'. Above 0.

    Returns
    -------
    list of int
        Shares, whole, with a sum of at most `capacity`; what rounding down
        leaves over goes to those who lost most by it.

    Raises
    ------
    ConfigError
        The floors alone exceed the capacity.

    References
    ----------
    D. Bertsekas and R. Gallager, Data Networks, 2nd ed. (1992), section 6.5.2.
    """
    if sum(floors) > capacity:
        raise ConfigError(
            f"a capacity of {capacity} cannot hold floors that add up to {sum(floors)}; lower the floors"
            " (min_size) or the reserve, or raise the total"
        )
    wants = [max(want, floor) for want, floor in zip(wants, floors, strict=True)]
    if sum(wants) <= capacity:
        return wants

    level = _level(capacity, wants, floors, weights)
    exact = [
        max(floor, min(want, level * weight))
        for want, floor, weight in zip(wants, floors, weights, strict=True)
    ]
    shares = [int(share + 1e-9) for share in exact]
    spare = capacity - sum(shares)
    for index in sorted(range(len(shares)), key=lambda index: shares[index] - exact[index]):
        if spare > 0 and shares[index] < wants[index]:
            shares[index] += 1
            spare -= 1
    # Where a unit is less than what floats of this size resolve, the sum may be a few too large.
    for index in range(len(shares)):
        given = min(max(-spare, 0), shares[index] - floors[index])
        shares[index] -= given
        spare += given
    return shares


def _level(capacity: int, wants: Sequence[int], floors: Sequence[int], weights: Sequence[float]) -> float:
    """Water level at which the shares add up to the capacity, which lies between floors and wants.

    Their sum is piecewise linear: each begins to rise at floor/weight and ends at want/weight.
    """
    turns = [(floor / weight, weight) for floor, weight in zip(floors, weights, strict=True)]
    turns += [(want / weight, -weight) for want, weight in zip(wants, weights, strict=True)]
    level, total, slope = 0.0, float(sum(floors)), 0.0
    for at, change in sorted(turns):
        if slope > 0.0 and total + slope * (at - level) >= capacity:
            return level + (capacity - total) / slope
        total += slope * (at - level)
        level = at
        slope += change
    return level

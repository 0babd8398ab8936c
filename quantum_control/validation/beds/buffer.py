"""A real queue before a link whose rate changes, in short blocks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any

import numpy as np
from scipy.optimize import isotonic_regression

from quantum_control.bench.network_bed import NetworkBed
from quantum_control.bench.pie import TARGET, PieQueue
from quantum_control.bench.queue_course import Steering
from quantum_control.demo.arms import Stopwatch
from quantum_control.validation.bed import TIMES, Bed, Block, Turn
from quantum_control.validation.beds.line import Course, Line
from quantum_control.validation.plan import AGAIN, BEST, DEFAULT, OURS, UNSTEERED, WATCHED
from quantum_control.validation.statistics import FloatArray

PEER, SAME_TARGET, TOLD = "peer", "peer, same target", "told"


class BufferBed(Bed):
    """Connections through a bottleneck, whose rate changes within each block.

    One network for each arm: client, router and server in namespaces of
    their own (`bench.network_bed`). The connections are new in each block, so
    that TCP remembers nothing; the limit, and what a controller has learnt, stay.
    """

    SETTINGS = (
        TIMES
        | {"rates", "distance", "target", "streams", "opening", "change", "probe"}
        | {"candidates", "calibration", "learning"}
    )
    METRICS = frozenset(
        {"delay_p95", "unused", "lost", "unused_before", "lost_before", "delay_mean", "delay_p50", "limit"}
    )

    def __init__(self, settings: Mapping[str, Any]) -> None:
        super().__init__(settings)
        self._stack = ExitStack()
        self._arms: dict[str, Line] = {}

    def calibrate(self, turns: list[Turn], tell: Callable[[str], object]) -> dict[str, Any]:
        """Play some of the turns to `auto`, and to fixed limits: the best carries the same, at least delay.

        Delay grows with the limit and so does what is carried, so that this is the one limit which
        carries as much as `auto` does; it is interpolated between those that were played.
        """
        if not turns:
            return {}
        turns = turns[:: max(1, len(turns) // self.settings["calibration"])]
        least, most, count = self.settings["candidates"]
        candidates = np.rint(np.geomspace(least, most, count)).astype(int).tolist()
        tell(f"looking for the best fixed limit: {len(turns)} blocks at each of {count}, and steered")
        steered = self._carried(
            partial(Line, self.settings, steered=partial(self._steer, OURS)), turns, self.settings["learning"]
        )
        carried = [self._carried(partial(Line, self.settings, _always(limit)), turns) for limit in candidates]
        best, within = carrying(steered, candidates, carried)
        return {
            "best_fixed": best,
            "within_candidates": within,
            "used_by_auto": round(steered, 4),
            "used_by_limit": {
                str(limit): round(used, 4) for limit, used in zip(candidates, carried, strict=True)
            },
        }

    def _carried(self, make: Callable[[], Line], turns: list[Turn], learning: int = 0) -> float:
        """Mean share of the link that was used in some turns; some are played before, to learn from."""
        line = make()
        try:
            for turn in turns[:learning]:
                line.play(self._course(turn))
            return 1.0 - float(np.mean([line.play(self._course(each)).metrics["unused"] for each in turns]))
        finally:
            line.close()

    def prepare(self, calibration: Mapping[str, Any], arms: list[str]) -> None:
        """Make the networks."""
        distance = float(self.settings["distance"])
        for name in arms:
            if name in (DEFAULT, AGAIN, UNSTEERED):
                line = Line(self.settings)
            elif name == BEST:
                line = Line(self.settings, _always(int(calibration["best_fixed"])))
            elif name == TOLD:
                line = Line(self.settings, lambda rate: round(rate / 8.0 * distance))
            elif name in (PEER, SAME_TARGET):
                target = TARGET if name == PEER else float(self.settings["target"])
                line = Line(self.settings, steered=partial(_pie, target))
            else:
                line = Line(self.settings, steered=partial(self._steer, name))
            self._stack.callback(line.close)
            self._arms[name] = line

    def run(self, arm: str, turn: Turn) -> Block:
        """Play a wash-in and the block."""
        return self._arms[arm].play(self._course(turn))

    def _steer(self, arm: str, bed: NetworkBed, clock: Stopwatch) -> Steering:
        """What steers in an arm of ours, or only looks."""
        watched = arm == WATCHED
        return Steering(
            bed.netns,
            OURS if watched else arm,
            target=self.settings["target"],
            interval=self.settings["interval"],
            tuned=True,
            watched=watched,
            clock=clock,
        )

    def _course(self, turn: Turn) -> Course:
        settings, rng = self.settings, turn.arrivals()
        rates = rng.permutation(settings["rates"]).tolist()
        return Course(
            (rates[0], rates[1]),
            settings["seconds"] * rng.uniform(*settings["change"]),
            (settings["opening"] * rng.random(settings["streams"])).tolist(),
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()


def _always(limit: int) -> Callable[[float], int]:
    """The same limit (bytes) at each rate."""
    return lambda _: limit


def _pie(target: float, bed: NetworkBed, clock: Stopwatch) -> PieQueue:
    """PIE that aims at a delay (s)."""
    return PieQueue(bed, target=target, clock=clock)


def carrying(wanted: float, limits: Sequence[int], carried: Sequence[float]) -> tuple[int, bool]:
    """Smallest limit that carries so much (share of the link), between those that were played.

    Parameters
    ----------
    wanted
        What it has to carry. Unit 1.
    limits
        That were played, bytes, ascending.
    carried
        By each of them. Unit 1.

    Returns
    -------
    tuple
        The limit, and whether what is wanted lies between the least and the most that was carried: if not,
        the limit is the smallest of those that come nearest.
    """
    # A larger limit does not carry less; what looks so is noise.
    rising: FloatArray = isotonic_regression(carried).x
    enough = int(np.searchsorted(rising, min(wanted, rising[-1]), "left"))
    within = bool(rising[0] <= wanted <= rising[-1])
    if enough == 0:
        return limits[0], within
    low, high = enough - 1, enough
    share = (min(wanted, rising[-1]) - rising[low]) / (rising[high] - rising[low])
    return round(limits[low] * (limits[high] / limits[low]) ** share), within

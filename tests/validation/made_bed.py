"""A bed whose outcomes are known, and plans for it."""

from __future__ import annotations

from quantum_control.validation.bed import Bed, Block
from quantum_control.validation.plan import read_plan

TEXT = """
pairs = 40
alpha = 0.05
seed = 7
resamples = 499
power = 0.9
pilot = 8
warm_up = 2
window = 10
trajectories = 10
wanted = 0.05
compared = ["default", "best fixed"]

[resources.made]
title = "made-up thing"
stretch = 1
late = 0.1
others = ["best fixed", "peer"]
arms = { "default" = "as it was", "auto" = "steered", "best fixed" = "known", "peer" = "another" }
bed = { auto = 0.8, interval = 0.04 }

[[resources.made.metrics]]
name = "cost"
title = "cost"
unit = "s"
role = "primary"

[[resources.made.metrics]]
name = "lost"
title = "lost"
unit = "1"
role = "safety"
scale = "difference"
"""

PLAN = read_plan(TEXT)

FACTOR = {
    **dict.fromkeys(("default", "default again", "watched", "unsteered"), 1.0),
    "best fixed": 0.85,
    "peer": 0.95,
}


class MadeBed(Bed):
    """Cost is the arrivals' own, times a factor of the arm, times noise of the block."""

    SETTINGS = frozenset({"auto", "interval"})
    METRICS = frozenset({"cost", "lost"})

    def __init__(self, settings):
        super().__init__(settings)
        self.ran = []
        self.calibrated = self.closed = 0
        self.break_at = {}  # pair -> errors still to come
        self.late = set()
        self.load = {}

    def calibrate(self, turns, tell):
        self.calibrated += 1
        return {"best_fixed": len(turns)} if turns else {}

    def inputs(self):
        return self.load

    def versions(self):
        return {"server": "1.2.3"}

    def prepare(self, calibration, arms):
        self.arms = list(arms)

    def run(self, arm, turn):
        self.ran.append((turn.stream, turn.pair, arm))
        if self.break_at.get(turn.pair, 0) > 0:
            self.break_at[turn.pair] -= 1
            raise OSError("the part is broken")
        base = turn.arrivals().lognormal(0.0, 1.0)
        factor = FACTOR.get(arm, self.settings["auto"])
        noise = turn.order().spawn(1 + len(arm))[-1].lognormal(0.0, 0.02)
        late = 1.0 if turn.pair in self.late else 0.0
        return Block(
            {"cost": base * factor * noise, "lost": 0.0}, 0.001, 2, late, [(0.0, 4.0, 3.0), (0.1, 5.0, 6.0)]
        )

    def __exit__(self, kind, error, trace):
        self.closed += 1

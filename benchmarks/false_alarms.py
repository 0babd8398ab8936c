"""How often the roll-back's test raises a false alarm, and how soon it finds a loss.

    python benchmarks/false_alarms.py [--blocks N]

Feeds the daemon's own test with relative losses whose mean is at the very edge of what is tolerated, of
several distributions, and counts its alarms; then with losses, and counts blocks until the alarm. A block is
ten intervals.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np

from quantum_control.core.watch import ALARM, BLOCK, MARGIN, LossEvidence

Draw = Callable[[np.random.Generator, int], np.ndarray]

AT_THE_EDGE: dict[str, Draw] = {
    "coins, +-0.9": lambda rng, n: MARGIN + rng.choice((0.9, -0.9), n),
    "rare large losses": lambda rng, n: np.where(rng.random(n) < 0.1, 1.0, (MARGIN - 0.1) / 0.9),
    "normal, sd 0.3": lambda rng, n: MARGIN + rng.normal(0.0, 0.3, n),
    "uniform": lambda rng, n: MARGIN + rng.uniform(-0.9, 0.9, n),
    "normal, sd 0.1": lambda rng, n: MARGIN + rng.normal(0.0, 0.1, n),
    "nothing saved or lost, sd 0.3": lambda rng, n: rng.normal(0.0, 0.3, n),
}


def alarms(draw: Draw, blocks: int) -> int:
    """Alarms in so many blocks; the test begins anew after each."""
    test, count = LossEvidence(), 0
    for loss in draw(np.random.default_rng(11), blocks).tolist():
        if test.take(loss) >= ALARM:
            test.reset()
            count += 1
    return count


def until_found(mean: float, runs: int = 200) -> float:
    """Blocks until a loss is found, in the median."""
    rng, times = np.random.default_rng(12), []
    for _ in range(runs):
        test, blocks = LossEvidence(), 0
        while True:
            blocks += 1
            if test.take(mean + rng.normal(0.0, 0.2)) >= ALARM:
                times.append(blocks)
                break
    return float(np.median(times))


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, default=1_000_000)
    blocks = parser.parse_args().blocks
    print(f"stated: no more than one false alarm in {ALARM:,.0f} blocks of {BLOCK} intervals, in the mean")
    for name, draw in AT_THE_EDGE.items():
        count = alarms(draw, blocks)
        # Exact upper limit of a Poisson count would need scipy; this one is above it for any count.
        most = (count + 2.0 + 2.0 * np.sqrt(count + 1.0)) / blocks
        rate = f"one in {blocks / count:,.0f} blocks" if count else "none"
        print(
            f"{name:30}: {count} in {blocks:,} blocks: {rate}; at the most one in {1.0 / most:,.0f} (97.5 %)"
        )
    for mean in (0.1, 0.2, 0.5, 0.9):
        print(f"a relative loss of {mean:.0%} is found after {until_found(mean):.0f} blocks in the median")


if __name__ == "__main__":
    main()

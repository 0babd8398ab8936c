"""Raw data of the heap benchmark, and the table made from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.spread import spread
from quantum_control.core.errors import ConfigError
from quantum_control.resources.heap_sizing import GIB
from quantum_control.simulation.traffic import FloatArray

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True)
class Run:
    """One arm in one pair."""

    phases: Sequence[str]
    """In the order in which they ran."""
    phase_seconds: float
    samples: FloatArray
    """Rows of seconds, bytes used, bytes committed, processor seconds of the collector so far, and
    seconds so far for which the program stood still for it (not in data of before it was kept)."""
    requests: NDArray[np.float32]
    """Rows of phase (index), seconds at which it was due, and seconds that it took."""
    control_cpu: float
    """Processor time of what steered, over elapsed time. Unit 1."""

    def figures(self) -> tuple[float, float, float]:
        """Mean heap committed, bytes; cores of the collector; 99th percentile of the latency, seconds.

        A core is a processor second for each second that the phases were to last: all have the
        same requests, and who takes longer for them has not collected less.
        """
        time, _, committed, spent = self.samples[:, :4].T
        heap = float(np.sum(committed[:-1] * np.diff(time)) / (time[-1] - time[0]))
        cores = float((spent[-1] - spent[0]) / (len(self.phases) * self.phase_seconds))
        return heap, cores, float(np.percentile(self.requests[:, 2], 99))

    def paused(self) -> float:
        """Seconds for which the program stood still, over the elapsed ones; nan where it was not kept."""
        if self.samples.shape[1] < 5:
            return np.nan
        time, stood = self.samples[:, 0], self.samples[:, 4]
        return float((stood[-1] - stood[0]) / (time[-1] - time[0]))

    def by_phase(self) -> FloatArray:
        """Mean heap committed, bytes, and cores of the collector: a row a phase, sorted by name."""
        time, _, committed, spent = self.samples[:, :4].T
        rows = {}
        for index, name in enumerate(self.phases):
            # The last phase goes on until all is served, as in `figures`.
            until = (index + 1) * self.phase_seconds if index + 1 < len(self.phases) else np.inf
            inside = (time >= index * self.phase_seconds) & (time < until)
            used = np.interp([index * self.phase_seconds, min(until, time[-1])], time, spent)
            rows[name] = committed[inside].mean(), (used[1] - used[0]) / self.phase_seconds
        return np.array([rows[name] for name in sorted(rows)])


def place(folder: Path, pair: int, arm: str) -> Path:
    """Where the raw data of one arm in one pair are."""
    return folder / f"{pair:04d} {arm}{SUFFIX}"


def write(path: Path, run: Run) -> None:
    """Write one arm of one pair, whole or not at all; the columns are the fields of `Run`."""
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            phases=np.array(run.phases),
            phase_seconds=np.array(run.phase_seconds),
            samples=run.samples,
            requests=run.requests,
            control_cpu=np.array(run.control_cpu),
        )
    part.replace(path)


def read(path: Path) -> Run:
    """One arm in one pair.

    Raises
    ------
    ConfigError
        The file is no raw data of this benchmark.
    """
    try:
        with np.load(path) as columns:
            return Run(
                phases=columns["phases"].tolist(),
                phase_seconds=float(columns["phase_seconds"]),
                samples=columns["samples"],
                requests=columns["requests"],
                control_cpu=float(columns["control_cpu"]),
            )
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"{path} is no raw data of this benchmark ({error}); give another folder") from None


class Results:
    """All pairs of one folder in which every arm has run.

    Raises
    ------
    ConfigError
        There is none.
    """

    def __init__(self, folder: Path, arms: Sequence[str], pairs: int, price: float) -> None:
        self.pairs = [pair for pair in range(pairs) if all(place(folder, pair, arm).exists() for arm in arms)]
        if not self.pairs:
            raise ConfigError(f"{folder} has no pair in which every arm has run")
        self._price = price / GIB
        runs = {arm: [read(place(folder, pair, arm)) for pair in self.pairs] for arm in arms}
        self.figures = {arm: np.array([run.figures() for run in of]) for arm, of in runs.items()}
        """By arm, rows (a pair each) of heap in bytes, cores of the collector, p99 in seconds."""
        self.phases = {arm: np.mean([run.by_phase() for run in of], axis=0) for arm, of in runs.items()}
        """By arm, rows (a phase each, sorted by name) of heap and cores, means over the pairs."""
        self.paused = {arm: float(np.median([run.paused() for run in of])) for arm, of in runs.items()}
        """By arm, the median over the pairs of the share of the time in pauses."""
        self.control = {arm: float(np.mean([run.control_cpu for run in of])) for arm, of in runs.items()}

    def cost(self, arm: str) -> FloatArray:
        """Cores of the collector and of what the heap is worth, a pair each."""
        heap, cores, _ = self.figures[arm].T
        total: FloatArray = cores + self._price * heap
        return total

    def best(self, fixed: Sequence[str]) -> str:
        """Of the `fixed` arms the one of the least cost over all pairs: the best in hindsight."""
        return min(fixed, key=lambda arm: float(np.median(self.cost(arm))))

    def beside_fixed(self, arm: str, fixed: Sequence[str]) -> tuple[FloatArray, FloatArray]:
        """Compare with fixed heaps that are alike in one way: a pair each, nan where none is.

        The heap over that of a fixed heap of the same collector time, and the collector time over
        that of a fixed heap of the same size. Between measured heaps it is interpolated, in logarithms.
        """
        heaps, cores = [], []
        for pair, (heap, core, _) in enumerate(self.figures[arm]):
            points = sorted((self.figures[each][pair, 0], self.figures[each][pair, 1]) for each in fixed)
            size, spent = np.log(points).T
            # More heap must not cost more collecting, or there would be two answers.
            spent = np.minimum.accumulate(spent)
            heaps.append(heap / _between(-np.log(core), -spent, size))
            cores.append(core / _between(np.log(heap), size, spent))
        return np.array(heaps), np.array(cores)

    def foresight(self, fixed: Sequence[str], beside: str) -> tuple[float, float]:
        """What the best size of each phase, in force from its first moment on, would come to.

        Heap at the same collector time, and collector time at the same heap, over those of the fixed
        heap `beside`: about the bound for what follows the phases. Of each phase the means over all
        pairs of the `fixed` heaps are known, and in between as in `beside_fixed`; the sizes of the
        phases are those of the least sum of collector time and a price of heap, for each price (Lagrange).
        Beside the smallest and the largest heap nothing can be told.
        """
        base = self.phases[beside]
        chosen = []
        for price in np.geomspace(1e-3, 1e3, 400) * (base[:, 1].mean() / base[:, 0].mean()):
            total = np.zeros(2)
            for phase in range(len(base)):
                points = np.array(sorted(tuple(self.phases[each][phase]) for each in fixed))
                heaps = np.geomspace(points[0, 0], points[-1, 0], 200)
                spent = np.minimum.accumulate(np.log(points[:, 1]))
                cores = np.exp(np.interp(np.log(heaps), np.log(points[:, 0]), spent))
                best = int(np.argmin(cores + price * heaps))
                total += heaps[best], cores[best]
            chosen.append(total / len(base))
        size, spent = np.log(np.array(chosen))[::-1].T  # ascending heap
        heap, cores = base.mean(axis=0)
        return (
            _between(-np.log(cores), -spent, size) / heap,
            _between(np.log(heap), size, spent) / cores,
        )

    def as_json(self, fixed: Sequence[str]) -> dict[str, object]:
        """Return what the table shows, for programs."""
        best = self.best(fixed)
        arms = {}
        for arm, own in self.figures.items():
            heap, cores, p99 = np.median(own, axis=0).tolist()
            base = self.figures[best]
            over = {
                "cost": self.cost(arm) / self.cost(best),
                "heap": own[:, 0] / base[:, 0],
                "collector": own[:, 1] / base[:, 1],
            }
            arms[arm] = {
                "heap_bytes": heap,
                "collector_cores": cores,
                "p99_seconds": p99,
                "paused_share": None if np.isnan(self.paused[arm]) else self.paused[arm],
                "control_share": self.control[arm],
                "over_best": {name: asdict(spread(each)) for name, each in over.items()},
            }
        return {"pairs": len(self.pairs), "best_fixed": best, "arms": arms}

    def table(self, fixed: Sequence[str]) -> str:
        """Return everything as a Markdown table, losses included."""
        best = self.best(fixed)
        lines = [
            f"Over the best fixed heap ({best}); at last over fixed heaps that are alike in one of both",
            "",
            "| arm | heap, MiB | collector, cores | paused, ms/s | p99, ms | cost | heap | collector time"
            " | heap at the same collector time | collector time at the same heap |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        base = self.figures[best]
        for arm in sorted(self.figures, key=lambda arm: float(np.median(self.cost(arm)))):
            own = self.figures[arm]
            heap, cores, p99 = np.median(own, axis=0)
            cells = [
                _interval(self.cost(arm) / self.cost(best)),
                _interval(own[:, 0] / base[:, 0]),
                _interval(own[:, 1] / base[:, 1]),
                *(("", "") if arm in fixed else map(_interval, self.beside_fixed(arm, fixed))),
            ]
            paused = "" if np.isnan(self.paused[arm]) else f"{1e3 * self.paused[arm]:.3f}"
            lines.append(
                f"| {arm} | {heap / 2**20:.0f} | {cores:.3f} | {paused} | {1e3 * p99:.1f}"
                f" | {' | '.join(cells)} |"
            )
        lines.append("")
        for beside in sorted(fixed, key=lambda arm: float(np.median(self.figures[arm][:, 0])))[1:-1]:
            heap, cores = self.foresight(fixed, beside)
            lines.append(
                f"- The best size of each phase from its first moment on, by what the fixed heaps took in it,"
                f" beside {beside}: heap {heap:.2f} at the same collector time, collector time {cores:.2f} at"
                " the same heap."
            )
        for arm, share in self.control.items():
            if share > 0.0:
                lines.append(f"- Control of {arm}: {share:.2%} of one core.")
        return "\n".join(lines)


def _between(at: float, xs: FloatArray, ys: FloatArray) -> float:
    """Return exp(y) at `at`; nan outside of the xs, which ascend."""
    return float(np.exp(np.interp(at, xs, ys, left=np.nan, right=np.nan)))


def _interval(ratios: FloatArray) -> str:
    known = ratios[np.isfinite(ratios)]
    if not known.size:
        return "none alike"
    missing = f" ({known.size} of {ratios.size} pairs)" if known.size < ratios.size else ""
    return f"{spread(known):.2f}{missing}"

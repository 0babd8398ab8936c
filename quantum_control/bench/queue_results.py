"""Raw data of the queue benchmark, and the table made from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.queue_course import Phase, figures
from quantum_control.bench.spread import spread

SUFFICIENT = 0.98
"""Share of the highest throughput of any fixed limit that a limit has to reach to be called good."""

Figures = Mapping[str, NDArray[np.float64]]
"""By the name of the figure: one row a pair, one column a rate."""


def place(folder: Path, pair: int, arm: str) -> Path:
    """File of one arm in one pair."""
    return folder / f"{pair:04d} {arm}.npz"


def write(path: Path, phases: Sequence[Phase]) -> None:
    """Write the phases of one run, whole or not at all.

    One row a phase in `rate` (bit/s), `throughput` (of what can be carried),
    `lost` (packets of the probe), `cpu` (seconds of the control), `limit`
    (bytes) and `arrived`; the delays (s) of all phases end to end in `delays`.
    """
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            rate=np.array([phase.rate for phase in phases]),
            throughput=np.array([phase.throughput for phase in phases]),
            lost=np.array([phase.lost for phase in phases]),
            cpu=np.array([phase.cpu for phase in phases]),
            limit=np.array([phase.limit for phase in phases]),
            arrived=np.array([phase.delays.size for phase in phases]),
            delays=np.concatenate([phase.delays for phase in phases]).astype(np.float32),
        )
    part.replace(path)


def read(path: Path) -> list[Phase]:
    """Phases of one run, as they were written."""
    with np.load(path) as data:
        delays = np.split(data["delays"].astype(float), np.cumsum(data["arrived"])[:-1])
        rows = zip(
            *(data[key].tolist() for key in ("rate", "throughput", "lost", "cpu", "limit")), strict=True
        )
        return [
            Phase(rate, throughput, each, lost, cpu, limit)
            for (rate, throughput, lost, cpu, limit), each in zip(rows, delays, strict=True)
        ]


class Results:
    """All complete pairs of a folder."""

    def __init__(self, folder: Path, arms: Sequence[str], pairs: int, rates: Sequence[float]) -> None:
        self.pairs = [pair for pair in range(pairs) if all(place(folder, pair, arm).exists() for arm in arms)]
        self._rates = list(rates)
        self._figures: dict[str, Figures] = {}
        for arm in arms:
            runs = [{p.rate: p for p in read(place(folder, pair, arm))} for pair in self.pairs]
            rows = [[{**figures(run[rate]), "limit": run[rate].limit} for rate in rates] for run in runs]
            names = rows[0][0] if rows else ()
            self._figures[arm] = {
                name: np.array([[cell[name] for cell in row] for row in rows]) for name in names
            }

    def best(self, fixed: Sequence[str]) -> list[str]:
        """The best fixed limit of each rate in hindsight: least p95 at sufficient throughput."""
        chosen = []
        for column, _ in enumerate(self._rates):
            carried = {arm: float(np.median(self._figures[arm]["throughput"][:, column])) for arm in fixed}
            enough = [arm for arm in fixed if carried[arm] >= SUFFICIENT * max(carried.values())]
            chosen.append(min(enough, key=lambda arm: float(np.median(self._figures[arm]["p95"][:, column]))))
        return chosen

    def overall(self, fixed: Sequence[str], best: Sequence[str]) -> str:
        """The fixed limit whose p95 is least, by the geometric mean over the rates, at sufficient throughput.

        Where none has that at each rate, the one that comes closest at its worst.
        """

        def shortfall(arm: str) -> float:
            return min(float(np.median(self._ratio(arm, best[c], "throughput", c))) for c in range(len(best)))

        def delay(arm: str) -> float:
            return float(np.exp(np.mean(np.log(np.median(self._figures[arm]["p95"], axis=0)))))

        enough = [arm for arm in fixed if shortfall(arm) >= SUFFICIENT]
        return min(enough, key=delay) if enough else max(fixed, key=shortfall)

    def as_json(self, fixed: Sequence[str]) -> dict[str, object]:
        """Return medians over pairs of each arm at each rate, for programs."""
        best = self.best(fixed) if self.pairs and fixed else []
        return {
            "pairs": len(self.pairs),
            "best_fixed": dict(zip(map(str, self._rates), best, strict=False)),
            "arms": {
                arm: {
                    str(rate): {name: float(np.median(each[:, column])) for name, each in own.items()}
                    for column, rate in enumerate(self._rates)
                }
                for arm, own in self._figures.items()
            },
        }

    def table(self, fixed: Sequence[str], titles: Callable[[str], str]) -> str:
        """Each arm at each rate, over the best fixed limit of that rate, in Markdown."""
        best = self.best(fixed)
        overall = self.overall(fixed, best)
        names = [f"{rate / 1e6:g} Mbit/s" for rate in self._rates]
        columns = "limit | throughput | p95 of what arrived, ms | p95 over best | refused, %"
        head = "| arm | " + " | ".join(f"{name}: {columns}" for name in names)
        lines = [head + " |", "|---" * (1 + 5 * len(names)) + "|"]
        for arm in self._figures:
            marks = [n for n, b in zip(names, best, strict=True) if b == arm]
            title = titles(arm) + (f" (best at {', '.join(marks)})" if marks else "")
            title += " (best over all)" if arm == overall else ""
            cells = [title]
            for column, of in enumerate(best):
                cells += [
                    f"{np.median(self._figures[arm]['limit'][:, column]):.0f}",
                    f"{spread(self._ratio(arm, of, 'throughput', column)):.3f}",
                    f"{1e3 * np.median(self._figures[arm]['p95'][:, column]):.1f}",
                    f"{spread(self._ratio(arm, of, 'p95', column)):.2f}",
                    f"{100.0 * np.median(self._figures[arm]['lost'][:, column]):.2f}",
                ]
            lines.append("| " + " | ".join(cells) + " |")
        return "\n".join(lines)

    def beside(self, arm: str, base: str) -> str:
        """Throughput and p95 of an arm over those of another, at each rate, in words."""
        told = [
            f"throughput {spread(self._ratio(arm, base, 'throughput', column)):.3f}"
            f" and p95 {spread(self._ratio(arm, base, 'p95', column)):.2f} at {rate / 1e6:g} Mbit/s"
            for column, rate in enumerate(self._rates)
        ]
        return "; ".join(told)

    def _ratio(self, arm: str, base: str, name: str, column: int) -> NDArray[np.float64]:
        ratio: NDArray[np.float64] = (
            self._figures[arm][name][:, column] / self._figures[base][name][:, column]
        )
        return ratio

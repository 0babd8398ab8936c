"""Raw data of the connection-pool benchmark, and the tables made from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from quantum_control.bench.spread import Spread, spread
from quantum_control.core.errors import ConfigError
from quantum_control.simulation.traffic import FloatArray

TIE = 0.99
"""Fixed sizes whose throughput is within 1 % of the highest are told apart by their p99."""

SETTLED = 1.5
"""Seconds from the beginning of a phase after which what is due counts as after the change."""

SUFFIX = ".npz"


@dataclass(frozen=True, slots=True)
class Run:
    """One arm in one phase of one pair."""

    phase: str
    seconds: float
    """Length of the phase."""
    due: NDArray[np.float32]
    """Seconds after its beginning at which each transaction was due."""
    latency: NDArray[np.float32]
    """Seconds from then to its end; inf if it was never begun, nan if it failed."""
    size: float
    """Mean size."""
    control_cpu: float
    """Processor seconds of the control; 0 where nothing steers."""

    def figures(self, since: float = 0.0) -> tuple[float, float]:
        """Throughput (1/s) and p99 of the latency (s) of what was due from `since` seconds on.

        Throughput counts what ended before the phase did. What did not is as
        late as it was at that moment, a lower bound.
        """
        counts = self.due >= since
        left, latency = self.seconds - self.due[counts], self.latency[counts]
        done = latency <= left
        if not done.size:
            return 0.0, float("inf")
        aged = np.where(done, latency, left)
        return float(done.sum()) / (self.seconds - since), float(np.percentile(aged, 99))


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write the phases of one arm in one pair, whole or not at all.

    One row a transaction in the columns `phase` (index), `due` and `latency`;
    one row a phase in `phases`, `seconds`, `size` and `control_cpu`.
    """
    part = path.with_suffix(".part")
    with part.open("wb") as file:
        np.savez_compressed(
            file,
            phase=np.concatenate([np.full(run.due.size, i, dtype=np.uint8) for i, run in enumerate(runs)]),
            due=np.concatenate([run.due for run in runs]),
            latency=np.concatenate([run.latency for run in runs]),
            phases=np.array([run.phase for run in runs]),
            seconds=np.array([run.seconds for run in runs]),
            size=np.array([run.size for run in runs]),
            control_cpu=np.array([run.control_cpu for run in runs]),
        )
    part.replace(path)


def read(path: Path) -> list[Run]:
    """Phases of one arm in one pair.

    Raises
    ------
    ConfigError
        The file is no raw data of this benchmark.
    """
    try:
        with np.load(path) as columns:
            phase, due, latency = columns["phase"], columns["due"], columns["latency"]
            rows = zip(
                columns["phases"], columns["seconds"], columns["size"], columns["control_cpu"], strict=True
            )
            return [
                Run(
                    phase=str(name),
                    seconds=float(seconds),
                    due=due[phase == index],
                    latency=latency[phase == index],
                    size=float(size),
                    control_cpu=float(cpu),
                )
                for index, (name, seconds, size, cpu) in enumerate(rows)
            ]
    except (KeyError, ValueError, OSError) as error:
        raise ConfigError(f"{path} is no raw data of this benchmark ({error}); give another folder") from None


@dataclass(frozen=True, slots=True)
class _Column:
    """An arm in a phase: one row a pair, nan where it did not run."""

    whole: FloatArray
    """Throughput, 1/s, and p99, s, of the whole phase."""
    settled: FloatArray
    """The same of what was due after `SETTLED`."""
    size: float
    """Median over pairs of the mean size."""

    @property
    def pairs(self) -> int:
        """How many there are."""
        return int(np.isfinite(self.whole[:, 0]).sum())


class Results:
    """All pairs of one folder in which the arms have run that are to run always.

    Parameters
    ----------
    folder
        Where the raw data are.
    arms
        Their names.
    pairs
        How many are looked for.
    always
        By phase, the arms that run in every pair; None: all. The others are compared in the pairs
        that they have.

    Raises
    ------
    ConfigError
        There is no such pair.
    """

    def __init__(
        self,
        folder: Path,
        arms: Sequence[str],
        pairs: int,
        always: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        needed = set(arms) if always is None else {arm for of in always.values() for arm in of}
        self.pairs = [
            pair for pair in range(pairs) if all(place(folder, pair, arm).exists() for arm in needed)
        ]
        if not self.pairs:
            raise ConfigError(f"{folder} has no pair in which every arm has run")
        self._always = always
        self._columns: dict[tuple[str, str], _Column] = {}
        self._control: dict[str, tuple[float, float]] = {}
        for arm in arms:
            places = {row: place(folder, pair, arm) for row, pair in enumerate(self.pairs)}
            runs = [(row, run) for row, path in places.items() if path.exists() for run in read(path)]
            for phase in dict.fromkeys(run.phase for _, run in runs):
                of = [(row, run) for row, run in runs if run.phase == phase]
                whole, settled = np.full((2, len(self.pairs), 2), np.nan)
                for row, run in of:
                    whole[row], settled[row] = run.figures(), run.figures(SETTLED)
                size = float(np.median([run.size for _, run in of]))
                self._columns[phase, arm] = _Column(whole, settled, size)
            shares = [run.control_cpu / run.seconds for _, run in runs] or [0.0]
            self._control[arm] = float(np.mean(shares)), max(shares)
        self.phases = sorted({phase for phase, _ in self._columns})

    def best(self, phase: str, fixed: Sequence[str]) -> str:
        """Of the `fixed` arms the one of the highest throughput; of those that tie, of the lowest p99."""
        medians = {
            arm: np.median(self._columns[phase, arm].whole, axis=0)
            for arm in (fixed if self._always is None else self._always[phase])
            if arm in fixed and (phase, arm) in self._columns
        }
        top = max(throughput for throughput, _ in medians.values())
        ties = [arm for arm, (throughput, _) in medians.items() if throughput >= TIE * top]
        return min(ties, key=lambda arm: float(medians[arm][1]))

    def ratios(self, phase: str, arm: str, best: str) -> tuple[Spread, Spread, Spread, Spread]:
        """Throughput and p99 over those of the arm `best` in the same pair: of the whole phase, settled."""
        one, other = self._columns[phase, arm], self._columns[phase, best]
        with np.errstate(divide="ignore", invalid="ignore"):
            whole, settled = one.whole / other.whole, one.settled / other.settled
        return _ratio(whole[:, 0]), _ratio(whole[:, 1]), _ratio(settled[:, 0]), _ratio(settled[:, 1])

    def control_share(self, arm: str) -> tuple[float, float]:
        """Processor time of the control over elapsed time: the mean, and in the worst phase. Unit 1."""
        return self._control[arm]

    def as_json(self, fixed: Sequence[str]) -> dict[str, object]:
        """Return what the tables show, for programs."""
        phases: dict[str, object] = {}
        for phase in self.phases:
            best = self.best(phase, fixed)
            arms = {}
            for arm in (arm for of, arm in self._columns if of == phase):
                column = self._columns[phase, arm]
                names = ("throughput", "p99", "settled_throughput", "settled_p99")
                arms[arm] = {
                    "pairs": column.pairs,
                    "size": column.size,
                    "p99_seconds": float(np.nanmedian(column.whole[:, 1])),
                    "over_best": {
                        name: asdict(ratio)
                        for name, ratio in zip(names, self.ratios(phase, arm, best), strict=True)
                    },
                }
            phases[phase] = {"best_fixed": best, "arms": arms}
        return {
            "pairs": len(self.pairs),
            "phases": phases,
            "control_share": {arm: share for arm, (share, worst) in self._control.items() if worst > 0.0},
        }

    def table(self, fixed: Sequence[str]) -> str:
        """Return everything as Markdown tables, losses included."""
        lines: list[str] = []
        for phase in self.phases:
            best = self.best(phase, fixed)
            lines += [
                f"**{phase}**, against {best}",
                "",
                f"| arm | pairs | size | p99, ms | throughput | p99 | throughput after {SETTLED:g} s"
                f" | p99 after {SETTLED:g} s |",
                "|---|---|---|---|---|---|---|---|",
            ]
            arms = [arm for of, arm in self._columns if of == phase]
            for arm in sorted(arms, key=lambda arm: -self.ratios(phase, arm, best)[0].median):
                column = self._columns[phase, arm]
                p99 = 1e3 * float(np.nanmedian(column.whole[:, 1]))
                cells = " | ".join(f"{ratio:.3f}" for ratio in self.ratios(phase, arm, best))
                lines.append(f"| {arm} | {column.pairs} | {column.size:.1f} | {p99:.0f} | {cells} |")
            lines.append("")
        for arm, (share, worst) in self._control.items():
            if worst > 0.0:
                lines.append(f"- Control of {arm}: {share:.2%} of one core, {worst:.2%} in the worst phase.")
        return "\n".join(lines)


def place(folder: Path, pair: int, arm: str) -> Path:
    """Where the raw data of one arm in one pair are."""
    return folder / f"{pair:04d} {arm}{SUFFIX}"


def _ratio(ratios: FloatArray) -> Spread:
    """Of the pairs that have one: infinite over nothing done, nan where neither did, or one did not run."""
    known = ratios[~np.isnan(ratios)]
    return spread(known) if known.size else Spread(np.nan, np.nan, np.nan, 0)

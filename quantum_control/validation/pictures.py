"""The two pictures of a report, as SVG."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from quantum_control.core.errors import ConfigError
from quantum_control.validation.analysis import Analysis
from quantum_control.validation.comparison import Comparison
from quantum_control.validation.records import Sample

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#7f7f7f", "#0b6e99", "#b35900", "#5b8c2a", "#8a3ffc", "#a2191f", "#1f77b4")

CUT = 0.5
"""Percent of the differences at each end that the histogram leaves out of sight."""


def distribution(comparisons: Sequence[Comparison]) -> str:
    """Draw how the paired differences of some comparisons are distributed."""
    figure = _figure(2.4 * len(comparisons))
    axes = np.atleast_1d(np.array(figure.subplots(len(comparisons), 1)))
    for axis, one in zip(axes, comparisons, strict=True):
        ratio = one.metric.scale == "ratio"
        values = np.exp(one.differences) if ratio else one.differences
        low, high = np.percentile(values, (CUT, 100.0 - CUT))
        shown = values[(values >= low) & (values <= high)]
        axis.hist(shown, bins=min(60, max(10, shown.size // 12)), color=COLOURS[1], alpha=0.75)
        axis.axvline(1.0 if ratio else 0.0, color="black", linewidth=0.8)
        axis.axvline(one.effect.value, color=COLOURS[2], linewidth=1.5)
        if one.effect.low == one.effect.low:
            axis.axvspan(one.effect.low, one.effect.high, color=COLOURS[2], alpha=0.3)
        what = "over" if ratio else "less"
        axis.set_title(f"{one.metric.name}: {one.ours} {what} {one.other}", fontsize=9, loc="left")
        axis.set_ylabel("observations", fontsize=8)
        axis.tick_params(labelsize=8)
    return _svg(figure)


def course(analysis: Analysis, pair: int, samples: Sequence[Sample]) -> str:
    """Draw sizes and demand in a typical block."""
    figure = _figure(3.2)
    axis = figure.subplots()
    arms = sorted({sample.arm for sample in samples}, key=lambda arm: (arm != analysis.base, arm))
    for arm, colour in zip(arms, COLOURS, strict=False):
        mine = [sample for sample in samples if sample.arm == arm]
        times = [sample.time for sample in mine]
        axis.step(times, [s.size for s in mine], where="post", color=colour, label=f"{arm}: size")
        axis.plot(
            times,
            [s.demand for s in mine],
            color=colour,
            linestyle=":",
            linewidth=1.0,
            label=f"{arm}: demand",
        )
    axis.set_title(
        f"{analysis.plan.title}, pair {pair}: the one nearest to the median", fontsize=9, loc="left"
    )
    axis.set_xlabel("seconds", fontsize=8)
    axis.tick_params(labelsize=8)
    axis.legend(fontsize=7, ncols=2)
    return _svg(figure)


def _figure(height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError(
            "the report's pictures need matplotlib; install it: pip install 'quantum-control[bench]'"
        ) from error
    return Figure(figsize=(8.0, height), layout="constrained")


def _svg(figure: Figure) -> str:
    from matplotlib import rc_context

    text = io.StringIO()
    # Without it each drawing of the same data gives names of its own to its parts.
    with rc_context({"svg.hashsalt": "quantum_control"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]

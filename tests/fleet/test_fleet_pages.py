"""The figures of the page on scale are those of the benchmarks' output that is kept beside it."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
RESULTS = DOCS / "results" / "scale"
PAGE = (DOCS / "scale.md").read_text(encoding="utf-8")
KEDA = (DOCS / "keda.md").read_text(encoding="utf-8")


def test_every_row_of_the_table_of_steps_is_the_one_measured():
    with (RESULTS / "step.csv").open(newline="") as file:
        measured = [row for row in csv.DictReader(file) if row["rows"] == "100000"]
    assert measured
    for row in measured:
        law = row["law"] + (", tuned" if row["auto_tune"] == "True" else "")
        expected = (
            f"| {law} | {float(row['median_s']) * 1e3:.0f} | {float(row['worst_s']) * 1e3:.0f} |"
            f" {int(row['process_bytes']):,} |"
        )
        assert expected in PAGE


def test_the_tables_of_traces_are_those_measured():
    with (RESULTS / "traces.csv").open(newline="") as file:
        laws: dict[str, dict[str, dict[str, str]]] = {}
        for row in csv.DictReader(file):
            laws.setdefault(row["trace"], {})[row["law"]] = row
    assert len(laws) == 3
    for trace, by_law in laws.items():
        ours, hpa, kpa = (by_law[law] for law in ("scaler, coherent", "hpa", "kpa"))
        saved = (
            f"{float(law['saved']) * 100:.1f} % [{float(law['saved_low']) * 100:.1f},"
            f" {float(law['saved_high']) * 100:.1f}]"
            for law in (hpa, kpa)
        )
        counts = (
            ", ".join(f"{float(law[what]):.0f}" for law in (ours, hpa, kpa)) for what in ("changes", "moved")
        )
        cells = (f"{trace}, {ours['days']} days", *saved, *counts)
        assert f"| {' | '.join(cells)} |" in KEDA
        costs = (f"{float(law['cost']):.1f}" for law in (ours, hpa, kpa, by_law["bound"]))
        assert f"| {trace} | {' | '.join(costs)} |" in KEDA


def test_the_figures_of_a_host_are_those_measured():
    found = json.loads((RESULTS / "hosts.json").read_text())
    one = found["one_host"]
    for figure in (
        f"{one['controllers_step_s'] * 1e3:.1f} ms",
        f"{one['array_step_s'] * 1e3:.2f} ms",
        f"{one['page_s'] * 1e3:.1f} ms",
        f"{one['page_bytes'] / 1e3:.0f} kB",
        f"{one['page_gzip_bytes'] / 1e3:.0f} kB",
        f"{one['series'] / 100:.0f} series",
        f"{one['controller_bytes'] / 1e3:.0f} kB",
        f"{found['fleet']['interval_s']:.2f} s",
        f"{found['fleet_over_extrapolation']:.2f} times",
    ):
        assert figure in PAGE, figure
    for row in found["ledger"]:
        assert (
            f"| {row['members']} | {row['bytes'] / 1e3:.1f} kB | {row['exchange_s'] * 1e3:.1f} ms |" in PAGE
        )
    assert re.search(r"Python 3\.\d+", PAGE)

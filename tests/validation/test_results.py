"""The runs that are committed: what is said of them is what their raw data give."""

from pathlib import Path

import pytest

from quantum_control.validation.analysis import analyse
from quantum_control.validation.plan import committed, read_plan
from quantum_control.validation.records import SETTINGS
from quantum_control.validation.statistics import effect
from quantum_control.validation.summary import effects

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "validation"
PLAN = read_plan(committed())


@pytest.fixture(scope="module", params=sorted(path.parent.name for path in RESULTS.glob(f"*/{SETTINGS}")))
def row(request):
    """Line of the summary, made anew of the raw data."""
    analysis = analyse(RESULTS / request.param, PLAN)
    assert analysis.pairs == PLAN.pairs
    return f"| {' | '.join(effects([analysis], PLAN)[1][0])} |"


@pytest.mark.parametrize("page", ["README.md", "docs/results/validation/report.md"])
def test_the_line_of_a_run_is_made_of_its_raw_data(page, row):
    assert row in (ROOT / page).read_text(encoding="utf-8").splitlines()


def test_the_lead_over_fixed_weights_is_where_servers_have_changed_places():
    """In odd stretches two of them have; the page quotes both halves, the report only all of them."""
    (one,) = [
        each
        for each in analyse(RESULTS / "loadbalancer", PLAN).comparisons
        if (each.ours, each.other, each.metric.name) == ("auto", "best fixed", "latency_mean")
    ]
    # Every third stretch has the best fixed: so the halves take turns, the usual speeds first.
    told = []
    for half in (one.differences[::2], one.differences[1::2]):
        found = effect(half, ratio=True, alpha=PLAN.alpha, resamples=PLAN.resamples, planned=half.size)
        assert found.count == 42
        told.append(f"{found.value:.2f} [{found.low:.2f}, {found.high:.2f}]")
    text = (ROOT / "docs" / "validation.md").read_text(encoding="utf-8")
    assert f"takes {told[0]} times their latency, and {told[1]} while two" in " ".join(text.split())

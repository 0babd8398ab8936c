"""The runs that are committed: what is said of them is what their raw data give."""

from pathlib import Path

import pytest

from quantum_control.validation.analysis import analyse
from quantum_control.validation.plan import committed, read_plan
from quantum_control.validation.records import SETTINGS
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

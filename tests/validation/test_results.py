"""The runs that are committed: what is said of them is what their raw data give."""

import re
from pathlib import Path

import pytest

from quantum_control.validation.analysis import analyse
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.buffer import BufferBed
from quantum_control.validation.comparison import compare, whole_stretches
from quantum_control.validation.plan import committed, read_plan
from quantum_control.validation.records import SETTINGS, by_pair, read_rows
from quantum_control.validation.summary import again, costs, effects

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "docs" / "results" / "validation"
PLAN = read_plan(committed())


@pytest.fixture(scope="module", params=sorted(path.parent.name for path in RESULTS.glob(f"*/{SETTINGS}")))
def run(request):
    """What the raw data of a run give, made anew."""
    analysis = analyse(RESULTS / request.param, PLAN)
    assert analysis.pairs == PLAN.pairs
    return analysis


def lines(page):
    return set((ROOT / page).read_text(encoding="utf-8").splitlines())


def cells(rows):
    return {f"| {' | '.join(row)} |" for row in rows}


def test_the_lines_of_the_report_are_made_of_the_raw_data(run):
    made = cells(effects([run], PLAN)[1] + costs([run])[1] + again([run])[1])
    assert made
    assert made <= lines("docs/results/validation/report.md")


def test_so_are_those_of_the_readme(run):
    assert cells(effects([run], PLAN)[1] + costs([run])[1]) <= lines("README.md")


VERDICT = re.compile(
    r"^\| auto \| best fixed \| \S+ \(primary\) \| \S+( better| worse)? \|(?P<rest>.*)\|$", re.M
)


def test_the_readme_says_where_the_lead_over_the_best_fixed_setting_is_shown():
    report = (RESULTS / "report.md").read_text(encoding="utf-8")
    better, not_shown = set(), {}
    for section in report.split("\n## ")[1:]:
        if found := VERDICT.search(section):
            resource = section.split("\n")[0]
            assert found[1] != " worse"
            if found[1]:
                better.add(resource)
            else:
                not_shown[resource] = found["rest"].split("|")[3].strip()
    readme = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    told = re.search(
        r"ours is better than the best fixed setting for (.+?)\. For (.+?) that is not shown \(p = (.+?)\)",
        readme,
    )
    where, nowhere, values = (re.split(r", | and ", part.replace("the ", "")) for part in told.groups())
    assert set(where) == better
    beside_the_peer = re.findall(r"^\| auto \| peer \| \S+ \(primary\) \| \S+( better)? \|", report, re.M)
    assert ("It is better than the peer for all five." in readme) == (beside_the_peer == [" better"] * 5)
    assert dict(zip(nowhere, values, strict=True)) == not_shown


SUPERSEDED = ROOT / "docs" / "results" / "superseded"


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in SUPERSEDED.glob(f"*/{SETTINGS}")))
def test_runs_by_an_earlier_plan_are_kept_with_their_figures(folder):
    plan = read_plan((SUPERSEDED / folder / "plan.toml").read_text(encoding="utf-8"))
    (row,) = cells(effects([analyse(SUPERSEDED / folder, plan)], plan)[1])
    assert row in lines("docs/results/superseded/README.md")
    assert f"- `{folder}`:" in (SUPERSEDED / "README.md").read_text(encoding="utf-8")


AGAIN = ROOT / "docs" / "results" / "again"


@pytest.mark.parametrize("folder", sorted(path.parent.name for path in AGAIN.glob(f"*/{SETTINGS}")))
def test_a_full_run_made_again_is_told_beside_the_first(folder):
    plan = read_plan((AGAIN / folder / "plan.toml").read_text(encoding="utf-8"))
    again = analyse(AGAIN / folder, plan)
    first = analyse(RESULTS / again.resource, plan)
    told = (ROOT / "docs" / "results" / "again" / "README.md").read_text(encoding="utf-8")
    for each in (first, again):
        assert each.pairs == plan.pairs
        assert " | ".join(effects([each], plan)[1][0][2:]) in told
    if again.fingerprint != first.fingerprint:
        return  # other arrivals: what differs is told
    for other in plan.compared:
        one, two = (each.comparison(other, again.plan.primary.name).effect for each in (first, again))
        assert one.low <= two.value <= one.high


def halves(resource, other, second, ours="auto", mode=""):
    """Effect on the primary metric where `second` is not so and where it is, as the page writes it."""
    of = PLAN.of(resource)
    pairs = by_pair(read_rows(RESULTS / f"{resource}{mode}", of))
    told = []
    for wanted in (False, True):
        half = {pair: arms for pair, arms in pairs.items() if second(pair, arms[ours].stretch) == wanted}
        one = compare(half, ours, other, of.primary, PLAN, of)
        told.append(f"{one.effect.value:.3g} [{one.effect.low:.3g}, {one.effect.high:.3g}]")
    return told


def odd(pair, stretch):
    """Stretches in which two servers have changed places, or transactions wait for something else."""
    return stretch % 2 == 1


def falls(pair, stretch):
    """Pairs in which the rate falls."""
    of = PLAN.of("buffer")
    before, after = BufferBed(of.bed)._course(Turn.of(PLAN.seed_of("buffer"), RUN, pair, of.stretch)).rates
    return after < before


def page():
    return " ".join((ROOT / "docs" / "validation.md").read_text(encoding="utf-8").split())


def test_the_lead_over_fixed_weights_is_where_servers_have_changed_places():
    usual, changed = halves("loadbalancer", "best fixed", odd)
    assert f"takes {usual} times their latency, and {changed} while two" in page()


def test_what_looking_costs_a_pool_of_connections_is_on_hot_rows():
    hot, waits = halves("connections", "unsteered", odd, ours="watched", mode="-overhead")
    assert f"{hot} of the latency on hot rows, {waits} where transactions wait" in page()


@pytest.mark.parametrize(
    ("resource", "other", "second"),
    [
        ("connections", "default", odd),
        ("connections", "best fixed", odd),
        ("connections", "peer", odd),
        ("buffer", "default", falls),
        ("buffer", "best fixed", falls),
        ("buffer", "peer", falls),
        ("buffer", "told", falls),
    ],
)
def test_what_differs_between_the_halves_of_a_run_is_told_of_each(resource, other, second):
    first, then = halves(resource, other, second)
    assert re.search(rf"\| {other}[^|]*\| {re.escape(first)} \| {re.escape(then)} \|", page())


@pytest.mark.parametrize("other", PLAN.compared)
def test_the_cost_of_the_heap_is_told_phase_by_phase(other):
    of = PLAN.of("memory")
    rows = read_rows(RESULTS / "memory", of)
    whole = whole_stretches(by_pair(rows), PLAN.pairs, of)
    told = []
    for phase in ("small, quiet", "small, busy", "large, quiet", "large, busy"):
        part = {pair: arms for pair, arms in whole.items() if arms["auto"].phase == phase}
        told.append(f"{compare(part, 'auto', other, of.primary, PLAN, of).effect.value:.3g}")
    assert re.search(rf"\| {other}[^|]*\| {re.escape(' | '.join(told))} \|", page())

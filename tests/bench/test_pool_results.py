"""From raw data to the tables of the connection-pool benchmark."""

from __future__ import annotations

import numpy as np
import pytest

from quantum_control.bench.pool_results import Results, Run, place, read, write
from quantum_control.core.errors import ConfigError


def run(phase="a", done=100, latency=0.1, cpu=0.0):
    """A hundred transactions in 10 s, of which the last ones were never begun."""
    latencies = np.full(100, latency, dtype=np.float32)
    latencies[done:] = np.inf
    return Run(phase, 10.0, np.linspace(0.0, 9.0, 100, dtype=np.float32), latencies, 4.0, cpu)


def test_throughput_is_what_was_done_before_the_end_and_the_rest_is_as_late_as_it_was_then():
    throughput, p99 = run(done=50).figures()
    assert throughput == pytest.approx(5.0)
    assert p99 == pytest.approx(5.4, abs=0.1)


def test_figures_after_the_change_leave_out_what_was_due_before():
    late_at_first = run()
    late_at_first.latency[:20] = 5.0
    assert late_at_first.figures()[1] == pytest.approx(5.0)
    assert late_at_first.figures(2.0)[1] == pytest.approx(0.1)


def test_failures_are_not_done():
    failing = run()
    failing.latency[:] = np.nan
    assert failing.figures()[0] == 0.0


def test_the_best_fixed_size_is_found_for_each_phase_by_throughput_and_then_by_p99(tmp_path):
    for pair in range(3):
        write(place(tmp_path, pair, "few"), [run("locks"), run("waits", latency=0.5)])
        write(place(tmp_path, pair, "many"), [run("locks", done=60), run("waits", latency=0.2)])
        write(place(tmp_path, pair, "ours"), [run("locks"), run("waits", done=90)])
    results = Results(tmp_path, ["few", "many", "ours"], 3)
    assert results.best("locks", ["few", "many"]) == "few"
    assert results.best("waits", ["few", "many"]) == "many"
    assert results.ratios("waits", "ours", "many")[0].median == pytest.approx(0.9)


def test_ratios_are_taken_within_pairs_and_have_an_interval(tmp_path):
    # The machine is twice as fast in the second pair: the ratio does not notice.
    for pair, (few, ours) in enumerate([(50, 45), (100, 90), (80, 80)] * 2):
        write(place(tmp_path, pair, "few"), [run(done=few)])
        write(place(tmp_path, pair, "ours"), [run(done=ours)])
    ratio = Results(tmp_path, ["few", "ours"], 6).ratios("a", "ours", "few")[0]
    assert (ratio.low, ratio.median, ratio.high) == pytest.approx((0.9, 0.9, 1.0))


def test_where_the_best_fixed_size_did_nothing_whoever_did_is_infinitely_better(tmp_path):
    for pair, few in enumerate([0, 0, 50]):
        write(place(tmp_path, pair, "few"), [run(done=few)])
        write(place(tmp_path, pair, "ours"), [run(done=50)])
        write(place(tmp_path, pair, "late"), [run(done=0)])
    results = Results(tmp_path, ["few", "ours", "late"], 3)
    ours, late = (results.ratios("a", arm, "few")[0] for arm in ("ours", "late"))
    assert (ours.low, ours.median, ours.high, ours.pairs) == (1.0, np.inf, np.inf, 3)
    assert (late.median, late.pairs) == (0.0, 1)
    assert "| inf (1.000 to inf) |" in results.table(["few"])


def test_where_neither_did_anything_there_is_no_ratio(tmp_path):
    for arm in ("few", "ours"):
        write(place(tmp_path, 0, arm), [run(done=0)])
    results = Results(tmp_path, ["few", "ours"], 1)
    throughput, p99, _, _ = results.ratios("a", "ours", "few")
    assert np.isnan(throughput.median)
    assert p99.median == 1.0
    assert "| ours | 1 | 4.0 |" in results.table(["few"])


def test_a_pair_that_is_not_whole_is_left_out(tmp_path):
    write(place(tmp_path, 0, "few"), [run()])
    with pytest.raises(ConfigError, match="no pair in which every arm has run"):
        Results(tmp_path, ["few", "ours"], 2)
    write(place(tmp_path, 0, "ours"), [run()])
    assert Results(tmp_path, ["few", "ours"], 2).pairs == [0]


def test_arms_that_ran_in_some_pairs_are_compared_in_those_and_are_not_the_best_fixed_size(tmp_path):
    for pair, done in enumerate([40, 80, 60]):
        write(place(tmp_path, pair, "few"), [run(done=done)])
        write(place(tmp_path, pair, "ours"), [run(done=done)])
    write(place(tmp_path, 1, "once"), [run(done=100)])
    results = Results(tmp_path, ["few", "once", "ours"], 3, always={"a": ["few", "ours"]})
    assert results.pairs == [0, 1, 2]
    assert results.best("a", ["few", "once"]) == "few"
    assert results.ratios("a", "once", "few")[0].median == pytest.approx(100 / 80)
    assert "| once | 1 | 4.0 | 100 | 1.250 (1.250 to 1.250) |" in results.table(["few", "once"])
    arms = results.as_json(["few", "once"])["phases"]["a"]["arms"]
    assert {arm: arms[arm]["pairs"] for arm in arms} == {"few": 3, "once": 1, "ours": 3}


def test_the_cost_of_the_control_is_a_share_of_elapsed_time_and_in_the_table(tmp_path):
    write(place(tmp_path, 0, "few"), [run("a"), run("b")])
    write(place(tmp_path, 0, "ours"), [run("a", cpu=0.1), run("b", cpu=0.3)])
    results = Results(tmp_path, ["few", "ours"], 1)
    assert results.control_share("ours") == pytest.approx((0.02, 0.03))
    assert "Control of ours: 2.00% of one core, 3.00%" in results.table(["few"])


def test_raw_data_are_read_as_they_were_written(tmp_path):
    path = place(tmp_path, 0, "few")
    write(path, [run("b", cpu=0.5), run("a", done=3)])
    first, second = read(path)
    assert (first.phase, second.phase, first.control_cpu) == ("b", "a", 0.5)
    assert np.array_equal(second.latency, run(done=3).latency)


def test_data_of_something_else_are_refused(tmp_path):
    path = place(tmp_path, 0, "few")
    path.write_text("nothing")
    with pytest.raises(ConfigError, match="no raw data of this benchmark"):
        read(path)

"""From what was played to the table."""

from math import isnan, nan

import numpy as np
import pytest

from quantum_control.core.physics import Objective
from quantum_control.demo import report
from quantum_control.demo.load import Load, Segment
from quantum_control.demo.report import ArmReport, Claim, Figure, Statistics
from quantum_control.demo.run import Played


def played(*waits, thread_seconds=10.0, dropped=0):
    """Give a segment of 2 s with these waits."""
    return Played(
        waits=np.array(waits, float),
        services=np.full(len(waits), 0.03),
        failed=0,
        dropped=dropped,
        seconds=2.0,
        thread_seconds=thread_seconds,
        change=0.0,
        control_cpu=0.001,
        samples=(),
    )


def load_of(blocks, tasks, burst=True):
    """Give a load of equal segments."""
    segment = Segment(2.0, np.zeros(tasks), np.full(tasks, 0.03), np.full(tasks, burst))
    return Load((segment,) * blocks, np.ones(blocks), (0.02, 0.05), "test")


def statistics(*blocks, burst=True):
    """Give the statistics of an arm that has played these segments."""
    return Statistics(load_of(len(blocks), blocks[0].waits.size, burst), blocks, Objective())


ALL = np.arange(2)


def test_quantiles_are_of_all_tasks_of_all_segments_together():
    arm = statistics(played(0.0, 0.1), played(0.2, 0.3))
    assert arm.figure("wait_median_seconds", ALL) == pytest.approx(0.15)
    assert arm.figure("wait_p99_seconds", ALL) == pytest.approx(np.percentile([0.0, 0.1, 0.2, 0.3], 99))


def test_dropped_tasks_are_in_the_quantiles_but_not_in_the_throughput():
    arm = statistics(played(0.0, 5.0, dropped=1), played(0.0, 5.0, dropped=1))
    assert arm.figure("wait_p99_seconds", ALL) > 4.0
    assert arm.figure("throughput", ALL) == pytest.approx(0.5)


def test_sums_over_segments_count_one_that_was_drawn_twice_twice():
    arm = statistics(played(0.0, thread_seconds=1.0), played(0.0, thread_seconds=10.0))
    assert arm.figure("thread_seconds", np.array([1, 1])) == 20.0


def test_the_interval_encloses_the_figure_and_is_that_of_whole_segments():
    values = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    figure = report.with_interval(lambda chosen: float(values[chosen].mean()), 6)
    assert figure.value == 3.5
    assert 1.0 < figure.low < 3.5 < figure.high < 6.0


def test_blocks_that_are_all_alike_leave_nothing_uncertain():
    figure = report.with_interval(lambda chosen: float(chosen.size), 7)
    assert (figure.low, figure.value, figure.high) == (7.0, 7.0, 7.0)


def test_ratios_are_paired_by_block_so_that_what_hits_both_arms_cancels():
    default = statistics(played(1.0, 1.0), played(100.0, 100.0))
    steered = statistics(played(0.1, 0.1), played(10.0, 10.0))
    wait, _, _ = report.claims(default, default, steered, 2)
    assert wait.ratio.value == pytest.approx(10.0)
    assert (wait.ratio.low, wait.ratio.high) == pytest.approx((10.0, 10.0))
    assert wait.met


def test_without_bursts_there_is_nothing_to_compare_and_nothing_is_said_to_be_met():
    arm = statistics(played(0.1, 0.1), played(0.1, 0.1), burst=False)
    wait, threads, _ = report.claims(arm, arm, arm, 2)
    assert isnan(wait.ratio.value)
    assert wait.met is None
    assert threads.met
    assert "nothing to compare" in report.sentence(wait)


@pytest.mark.parametrize(
    ("ratio", "ending"),
    [
        (Figure(6.0, 5.5, 7.0), "target at least 5: met"),
        (Figure(6.0, 4.0, 7.0), "target at least 5: met, but the interval reaches past it"),
        (Figure(4.0, 3.0, 4.5), "target at least 5: MISSED"),
        (Figure(4.0, 3.0, 5.5), "target at least 5: MISSED, but the interval reaches past it"),
    ],
)
def test_a_target_is_said_to_be_missed_when_it_is(ratio, ending):
    assert report.sentence(Claim("wait", ratio, least=5.0)).endswith(ending)


def test_a_target_from_above_is_missed_by_more():
    assert Claim("threads", Figure(1.2, 1.1, 1.3), most=1.0).met is False
    assert Claim("threads", Figure(1.0, 1.0, 1.0), most=1.0).met is True


def arm_report(name="steered", size=None, value=0.1234, failed=0, dropped=0):
    """Give a report in which every figure is `value`."""
    figures = {measure: Figure(value, value, value) for measure in report.MEASURES}
    return ArmReport(name, size, 5, failed, dropped, figures, None)


def test_the_table_names_the_unit_of_every_row_and_has_three_digits():
    lines = report.table([arm_report()], 80).splitlines()
    assert len(lines) == 1 + len(report.MEASURES)
    for line, measure in zip(lines[1:], report.MEASURES.values(), strict=True):
        assert line.startswith(measure.label)
        assert measure.unit
        assert f" {measure.unit} " in line
    assert "123 [123–123]" in lines[1]


def test_failed_and_dropped_tasks_are_shown_where_there_are_any():
    assert "dropped" not in report.table([arm_report()], 80)
    shown = report.table([arm_report(failed=3, dropped=7)], 80)
    assert "failed" in shown
    assert shown.splitlines()[-1].split() == ["dropped", "tasks", "7"]


def test_a_fixed_size_has_no_control_to_be_charged_for():
    assert report.table([arm_report(size=6)], 80).splitlines()[-1].endswith("-")


def test_a_table_too_wide_is_set_one_arm_below_the_other():
    arms = [arm_report("one"), arm_report("other")]
    wide = report.table(arms, 80)
    narrow = report.table(arms, 45)
    assert wide.splitlines()[0].split() == ["one", "other"]
    assert narrow.count("wait, median") == 2
    assert max(map(len, narrow.splitlines())) <= 45


def test_programs_get_null_for_what_there_is_not():
    result = report.as_json([arm_report(value=nan)], [Claim("wait", Figure(nan, nan, nan), least=5.0)])
    assert result["arms"][0]["figures"]["cost"] == {"value": None, "low": None, "high": None}
    assert result["claims"][0]["met"] is None

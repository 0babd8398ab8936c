"""What is to be seen while the demonstration runs."""

import io
from math import nan

import pytest
from rich.console import Console

from quantum_control.demo.run import Sample
from quantum_control.demo.view import LineView, LiveView, view


class Pool:
    """Stands in for an arm, of which views see only the name."""

    def __init__(self, name):
        self.name = name


def console_of(**settings):
    """Give a console that writes into a string."""
    return Console(file=io.StringIO(), **settings)


def sample(time=0.0, force=nan, wait=nan):
    """Give a sample."""
    return Sample(time, 7, 12.5, 3, wait, force)


@pytest.mark.parametrize(
    ("settings", "kind"),
    [
        ({"force_terminal": True, "_environ": {"TERM": "xterm"}}, LiveView),
        ({"force_terminal": True, "_environ": {"TERM": "dumb"}}, LineView),
        ({"force_terminal": False}, LineView),
    ],
    ids=["terminal", "dumb terminal", "pipe"],
)
def test_only_a_terminal_that_can_move_its_cursor_gets_a_live_view(settings, kind):
    assert type(view(console_of(**settings), [Pool("a")], 2, 10.0)) is kind


def test_lines_tell_units_and_leave_out_what_there_is_not():
    console = console_of(width=40)
    with LineView(console, [Pool("a")], 2, 20.0) as lines:
        lines.observe(lines.arms[0], 0, sample())
        lines.observe(lines.arms[0], 0, sample(6.0, force=0.5, wait=0.0123))
    first, second = console.file.getvalue().splitlines()
    assert first == "  0%  block 1/2  a: size 7 threads, demand 12.5 threads; 20 s left"
    assert "wait 12 ms, force +0.5 1/s; 14 s left" in second
    assert "\x1b" not in first + second


def test_lines_are_few_however_many_samples_there_are():
    console = console_of()
    lines = LineView(console, [Pool("a")], 1, 20.0)
    for tick in range(400):
        lines.observe(lines.arms[0], 0, sample(tick * 0.05))
    assert len(console.file.getvalue().splitlines()) == 4


def test_a_pool_that_is_late_does_not_carry_the_progress_past_its_share():
    pools = [Pool("a"), Pool("b")]
    lines = LineView(console_of(), pools, 1, 10.0)
    lines.observe(pools[0], 0, sample(10.0))
    lines.observe(pools[0], 0, sample(12.0))
    assert lines.done == 10.0
    lines.observe(pools[1], 0, sample(4.0))
    assert lines.done == 14.0


@pytest.mark.parametrize("width", [100, 80, 40, 12])
def test_the_live_view_fits_any_width_and_names_its_units(width):
    console = console_of(force_terminal=True, width=width, _environ={"TERM": "xterm"})
    pools = [Pool("fixed, 6"), Pool("steered")]
    live = LiveView(console, pools, 2, 10.0)
    for tick in range(200):
        live.observe(pools[1], 0, sample(tick * 0.02, force=1.0))
    printer = console_of(width=width)
    printer.print(live._draw())
    shown = printer.file.getvalue()
    assert max(map(len, shown.splitlines())) <= width
    if width >= 80:
        for heading in ("size, threads", "demand, threads", "wait, ms", "force, 1/s"):
            assert heading in shown

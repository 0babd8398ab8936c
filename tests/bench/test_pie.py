"""PIE beside a steered limit: its law as RFC 8033 has it, and its drops in a real network."""

from __future__ import annotations

import socket
import time

import numpy as np
import pytest
from integration.host_network import require_namespaces

from quantum_control.bench.network_bed import BOTTLENECK, NetworkBed
from quantum_control.bench.pie import ALPHA, BETA, BURST, PERIOD, STEP, TARGET, Pie, PieQueue
from quantum_control.bench.random_drop import RandomDrop

MUCH = 100_000.0
"""Bytes that wait: more than two packets."""

QUIET = round(BURST / PERIOD)
"""Updates after which a burst is over."""


def after_the_burst(pie):
    for _ in range(QUIET - 1):
        assert pie.update(2.0 * TARGET, MUCH) == 0.0
    pie.update(2.0 * TARGET, MUCH)
    return pie


def test_a_burst_is_let_through_and_then_delay_is_answered():
    pie = after_the_burst(Pie())
    assert pie.update(4.0 * TARGET, MUCH) > 0.0


def test_small_probabilities_move_in_small_steps_and_large_ones_by_no_more_than_two_per_cent():
    pie = after_the_burst(Pie())
    pie.probability, pie._before = 0.0, TARGET
    pie.update(2.0 * TARGET, MUCH)
    # Below a millionth: halved, and quartered five times.
    assert pie.probability == pytest.approx((ALPHA * TARGET + BETA * TARGET) / 2.0 / 4.0**5)
    pie.probability, pie._before = 0.5, 0.0
    pie.update(0.1, MUCH)
    assert pie.probability == pytest.approx(0.5 + STEP)
    pie.update(0.3, MUCH)
    assert pie.probability == pytest.approx(0.5 + 3.0 * STEP)


def test_it_rests_at_the_target_and_gives_way_below_it():
    pie = after_the_burst(Pie())
    pie.probability, pie._before = 0.05, TARGET
    pie.update(TARGET, MUCH)
    assert pie.probability == pytest.approx(0.05)
    pie.update(0.6 * TARGET, MUCH)
    assert 0.0 < pie.probability < 0.05


def test_a_short_queue_loses_nothing_whatever_the_probability():
    pie = after_the_burst(Pie())
    pie.probability, pie._before = 0.1, 0.4 * TARGET
    assert pie.update(0.4 * TARGET, MUCH) == 0.0
    assert pie.update(2.0 * TARGET, 3000.0) == 0.0
    assert pie.update(2.0 * TARGET, MUCH) > 0.05


def test_a_quiet_time_allows_another_burst():
    pie = after_the_burst(Pie())
    for _ in range(2):
        pie.update(0.0, 0.0)
    assert pie.probability == 0.0
    after_the_burst(pie)


@pytest.mark.integration
@pytest.mark.xdist_group("kernel")
def test_packets_are_dropped_as_often_as_asked_and_spread_out():
    require_namespaces()
    with NetworkBed(10e6) as bed:
        index = bed.router.call(lambda: socket.if_nametoindex(BOTTLENECK))
        drop = bed.router.call(lambda: RandomDrop(index))
        assert not lost(bed).any()  # the neighbours have found one another, too
        drop.set(0.5)
        some = lost(bed)
        # One is spared after each, then a half: every third on the average.
        assert 0.2 < some.mean() < 0.45
        assert not (some[1:] & some[:-1]).any()
        assert drop.dropped() >= some.sum()
        drop.set(1.0)
        assert lost(bed).all()
        drop.close()
        assert not lost(bed).any()


def lost(bed):
    """Which packets of a probe did not come."""
    with bed.probe(0.001) as probe:
        while len(probe._stamps) < 200:
            time.sleep(0.01)
        time.sleep(0.05)
    return ~np.isfinite(probe.delays()[1])


@pytest.mark.integration
@pytest.mark.xdist_group("kernel")
def test_a_queue_under_pie_is_shorter_than_left_alone():
    require_namespaces()
    waiting = {}
    for managed in (False, True):
        with NetworkBed(10e6) as bed:
            bed.listen()
            pie = PieQueue(bed)
            transfer = bed.send(3.0)
            held = []
            for _ in range(200):
                time.sleep(PERIOD)
                if managed:
                    pie.step()
                held.append(pie.waiting())
            transfer.result()
            pie.close()
        waiting[managed] = np.mean(held[100:])
    assert waiting[True] < 0.5 * waiting[False]

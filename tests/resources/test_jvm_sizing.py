"""The square-root rule, demand that is not carried over, and what GC.heap_info says."""

from __future__ import annotations

from math import nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import SensorError
from quantum_control.core.estimation import Estimator
from quantum_control.core.resource import ResourceState
from quantum_control.resources.heap_sizing import ABOVE_CLIFF, GIB, PRICE, Effort, HeapSizing
from quantum_control.resources.jvm_local import parse_heap_info, parse_uptime
from quantum_control.resources.stock import Stock
from quantum_control.simulation.plants.heap import square_root_heap

MIB = 2**20


def effort(live, rate, heap, seconds, *, elapsed=1.0, collections=1):
    cores = rate * seconds / max(heap - live, 0.02 * live)
    return Effort(elapsed, live, rate * elapsed, cores * elapsed, collections)


@given(
    live=st.floats(10 * MIB, 1000 * MIB),
    rate=st.floats(MIB, 2000 * MIB),
    seconds=st.floats(0.01, 1.0),
    price=st.floats(0.01, 1.0),
)
def test_the_rule_is_that_of_the_literature_from_whatever_heap(live, rate, seconds, price):
    sizing = HeapSizing(price)
    heap = 4000.0 * MIB
    for _ in range(60):
        heap = sizing.step(effort(live, rate, heap, seconds), heap)
    # There the tracing speed is given; a collection takes live/speed.
    known = square_root_heap(live, rate, live / seconds, price / GIB)
    assert heap == pytest.approx(known, rel=0.02)


def test_it_does_not_move_before_there_was_a_collection():
    sizing = HeapSizing()
    assert sizing.step(Effort(1.0, nan, 50.0 * MIB, 0.0, 0), 700.0 * MIB) == 700.0 * MIB
    assert sizing.step(Effort(1.0, 10.0 * MIB, 50.0 * MIB, 0.0, 0), 700.0 * MIB) == 700.0 * MIB


def test_it_grows_at_once_and_gives_up_slowly():
    sizing = HeapSizing()
    small, live, rate = 250.0 * MIB, 200.0 * MIB, 400.0 * MIB
    worth = sizing.step(effort(live, rate, small, 0.2), small)
    assert worth > 2.0 * small
    quiet = [sizing.step(effort(0.1 * live, 0.1 * rate, worth, 0.02), worth) for _ in range(2)]
    assert 0.4 * worth < quiet[1] < quiet[0] < worth


def test_it_comes_down_at_its_own_pace_however_late_the_heap_follows():
    """A law has a lag of its own; from the heap in force, a share of a share of the way would be told."""
    live, rate, seconds = 20.0 * MIB, 60.0 * MIB, 0.02
    heaps = {"at once": 2000.0 * MIB, "late": 2000.0 * MIB}
    told = {}
    for name, share in (("at once", 1.0), ("late", 0.2)):
        sizing = HeapSizing()
        for _ in range(15):
            told[name] = sizing.step(effort(live, rate, heaps[name], seconds), heaps[name])
            heaps[name] *= (told[name] / heaps[name]) ** share
    assert told["late"] == pytest.approx(told["at once"], rel=0.05)


def test_a_collection_that_goes_on_in_the_next_interval_is_counted_once():
    sizing = HeapSizing()
    live, heap = 100.0 * MIB, 300.0 * MIB
    for _ in range(20):
        for allocated, spent, seen in ((100.0, 0.0, 0), (95.0, 0.012, 1), (5.0, 0.028, 1)):
            sizing.step(Effort(1.0, live, allocated * MIB, spent, seen), heap)
    # Its room is 200 MiB, and as many were allocated for each.
    assert sizing.collection_seconds == pytest.approx(0.04, rel=0.1)


def test_a_cliff_is_remembered_for_a_while_and_scales_with_the_live_set():
    sizing = HeapSizing()
    live, rate, heap = 200.0 * MIB, 400.0 * MIB, 215.0 * MIB
    for _ in range(3):
        sizing.step(effort(live, rate, heap, 0.2), heap)
    assert sizing.cliff == pytest.approx(heap, rel=0.05)
    low = 400.0 * MIB
    for _ in range(20):
        low = sizing.step(effort(live, 0.001 * rate, low, 0.2), low)
    assert low >= ABOVE_CLIFF * sizing.cliff > live
    for _ in range(600):
        low = sizing.step(effort(live, 0.001 * rate, low, 0.2), low)
    assert low == pytest.approx(square_root_heap(live, 0.001 * rate, live / 0.2, PRICE / GIB), rel=0.02)


@given(
    wanted=st.floats(10.0, 1e10),
    start=st.floats(10.0, 1e10),
)
def test_a_controller_that_takes_want_for_backlog_rests_at_what_is_wanted(wanted, start):
    """The estimator is told of a stock as if it were a queue; flow and backlog add up to what is wanted."""
    stock, estimator, size = Stock(), Estimator(delay=0), start
    for k in range(40):
        told = stock.demand(wanted, size)
        state = estimator.update(ResourceState.from_demand(told, size=size), float(k))
        if k:  # the first measurement has no past
            assert state.flow + state.backlog == pytest.approx(wanted, rel=1e-6)
        size += 0.5 * (wanted - size)


ZGC = " ZHeap           used 378M, capacity 466M, max capacity 1500M\n Metaspace used 138K"
SHENANDOAH = (
    "Shenandoah Heap\n 1500M max, 600M soft max, 633M committed, 437M used\n 3000 x 512K regions\n"
    " Metaspace       used 130K, committed 320K"
)
G1 = (
    " garbage-first heap   total 1123328K, used 522756K [0xa0, 0x10)\n region size 1024K\n Metaspace used 79K"
)
G1_OF_25 = (
    " garbage-first heap   total reserved 65536K, committed 32768K, used 2026K [0xfc, 0x100)\n"
    "  region size 1024K, 1 young (1024K), 0 survivors (0K)\n Metaspace used 59K, committed 128K"
)
PARALLEL = (
    " PSYoungGen      total 76288K, used 6554K [0x1)\n  eden space 65536K, 10% used\n"
    " ParOldGen       total 175104K, used 1000K [0x2)\n  object space 175104K, 0% used\n Metaspace used 1K"
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (ZGC, ("ZGC", 378 * MIB, 466 * MIB)),
        (SHENANDOAH, ("Shenandoah", 437 * MIB, 633 * MIB)),
        (G1, ("G1", 522756 * 1024, 1123328 * 1024)),
        (G1_OF_25, ("G1", 2026 * 1024, 32768 * 1024)),
        (PARALLEL, ("Parallel", 7554 * 1024, 251392 * 1024)),
    ],
)
def test_what_each_collector_says_of_its_heap_is_understood(text, expected):
    assert parse_heap_info(text) == expected


@pytest.mark.parametrize(("text", "seconds"), [("12.345 s\n", 12.345), ("3601,5 s", 3601.5)])
def test_the_uptime_is_understood_with_either_decimal_mark(text, seconds):
    assert parse_uptime(text) == seconds


@given(text=st.text(max_size=20))
def test_an_uptime_without_seconds_is_a_sensor_error(text):
    with pytest.raises(SensorError, match="no seconds"):
        parse_uptime(text)


@given(text=st.one_of(st.text(max_size=80), st.text(max_size=40).map(lambda tail: "ZHeap " + tail)))
def test_anything_else_is_a_sensor_error(text):
    try:
        parsed = parse_heap_info(text)
    except SensorError:
        return
    assert parsed.used >= 0

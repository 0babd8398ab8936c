"""Replicas are a function of the points of the grid alone: not of who asks, nor since when."""

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.fleet.scaler_fleet import Fleet, UnavailableError
from quantum_control.fleet.scaler_history import QueryError
from quantum_control.fleet.scaler_run import EPOCH, Points, Runs, Tracked, window_start
from quantum_control.fleet.scaler_target import Target

FIRST = 1000 * EPOCH
ROWS = 6
SERVER = "http://prometheus:9090"


def tracked(name, **metadata):
    said = {"query": f"load_{name}", "perPod": "2", "model": "optomechanical", **metadata}
    return Tracked(Target.of("shop", f"{name}", said, {SERVER: None}), 0.0)


def load(points=3 * EPOCH):
    rng = np.random.default_rng(1)
    level = 40.0 * (1.0 + 0.5 * np.sin(np.arange(points) / 100.0))
    flow = rng.poisson(level[:, None], (points, ROWS)).astype(float)
    flow[100:140, 3] = np.nan  # a gap
    flow[: EPOCH + 300, 5] = np.nan  # one that came later
    return Points(flow, np.full_like(flow, np.nan))


def warmed(points, now, model):
    """Replicas at `now` of a scaler that has just been started."""
    rows = [tracked(i, model=model) for i in range(ROWS)]
    begin = window_start(now) - FIRST
    part = Points(points.flow[begin : now - FIRST + 1], points.waiting[begin : now - FIRST + 1])
    Runs().warm(rows, part, window_start(now))
    return [each.replicas for each in rows]


@pytest.mark.parametrize("model", ["optomechanical", "coherent", "parametric", "auto"])
def test_one_that_has_been_there_for_long_agrees_with_one_just_started(model):
    points = load()
    start = FIRST + EPOCH + 10
    rows = [tracked(i, model=model) for i in range(ROWS)]
    runs = Runs()
    runs.warm(rows, Points(points.flow[: EPOCH + 11], points.waiting[: EPOCH + 11]), FIRST)
    compared = {
        start + 1,
        FIRST + EPOCH + 301,
        FIRST + 2 * EPOCH - 1,
        FIRST + 2 * EPOCH,
        FIRST + 3 * EPOCH - 1,
    }
    for now in range(start + 1, FIRST + 3 * EPOCH):
        runs.advance(now, rows, points, now - FIRST)
        if now in compared:
            np.testing.assert_array_equal([each.replicas for each in rows], warmed(points, now, model))


def test_targets_taken_up_one_by_one_agree_with_those_taken_up_together():
    points, now = load(), FIRST + EPOCH + 200
    runs, rows = Runs(), [tracked(i) for i in range(ROWS)]
    for i, each in enumerate(rows):
        part = Points(points.flow[: EPOCH + 201, i : i + 1], points.waiting[: EPOCH + 201, i : i + 1])
        runs.warm([each], part, FIRST)
    assert [each.replicas for each in rows[:5]] == warmed(points, now, "optomechanical")[:5]


class Server:
    """Knows a formula; may be down, or have nothing."""

    def __init__(self):
        self.down = False
        self.wrong = None
        self.none_after = np.inf

    def ranges(self, expressions, first, last, interval):
        if self.down:
            raise SensorError("it gives no answer")
        times = np.arange(first, last + 1) * interval
        values = np.where(times > self.none_after, np.nan, 50.0 + 20.0 * np.sin(times / 300.0))
        return {each: QueryError("parse error") if each == self.wrong else values for each in expressions}


class Clock:
    def __init__(self):
        self.now = (FIRST + EPOCH + 7.5) * 15.0

    def __call__(self):
        return self.now


def fleet(server, clock):
    return Fleet({SERVER: server}, clock=clock, monotonic=clock)


METADATA = {"query": "load", "perPod": "2", "hold": "60"}


def test_a_server_that_is_down_is_caught_up_with():
    server, clock = Server(), Clock()
    ours = fleet(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    server.down = True
    for _ in range(40):
        clock.now += 15.0
        ours.round()
    server.down = False
    ours.round()
    fresh = fleet(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert ours.replicas(mine) == fresh.replicas(theirs)
    assert ours.counts.failures == 40


def test_the_last_value_is_held_and_then_there_is_none():
    server, clock = Server(), Clock()
    ours = fleet(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    held = ours.replicas(mine)
    server.none_after = clock.now
    clock.now += 60.0
    ours.round()
    assert ours.replicas(mine) == held
    clock.now += 60.0
    ours.round()
    with pytest.raises(UnavailableError, match="no recent value"):
        ours.replicas(mine)


def test_a_wrong_query_does_not_harm_the_others():
    server, clock = Server(), Clock()
    server.wrong = "load("
    ours = fleet(server, clock)
    good = ours.track("shop", "web", METADATA)
    bad = ours.track("shop", "bad", {**METADATA, "query": "load("})
    ours.round()
    assert ours.replicas(good) > 0
    with pytest.raises(QueryError):
        ours.replicas(bad)


def test_what_nobody_asks_for_is_dropped_and_comes_back_the_same():
    server, clock = Server(), Clock()
    ours = fleet(server, clock)
    ours.track("shop", "web", METADATA)
    ours.round()
    clock.now += 1000.0
    ours.round()
    assert len(ours) == 0
    again = ours.track("shop", "web", METADATA)
    ours.round()
    fresh = fleet(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert ours.replicas(again) == fresh.replicas(theirs)


def test_replicas_stay_within_their_bounds():
    server, clock = Server(), Clock()
    ours = fleet(server, clock)
    low = ours.track("shop", "low", {**METADATA, "maxReplicas": "3"})
    high = ours.track("shop", "high", {**METADATA, "minReplicas": "90"})
    ours.round()
    assert (ours.replicas(low), ours.replicas(high)) == (3, 90)


def test_a_target_that_is_not_the_servers_to_ask_is_refused():
    with pytest.raises(ConfigError, match="--prometheus"):
        tracked("web", serverAddress="http://elsewhere:9090")

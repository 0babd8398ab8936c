"""Replicas are a function of the points of the grid alone: not of who asks, nor since when."""

import numpy as np
import pytest

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.fleet.scaler_fleet import FORGET, Fleet
from quantum_control.fleet.scaler_history import QueryError
from quantum_control.fleet.scaler_run import EPOCH, Points, Runs, window_start
from quantum_control.fleet.scaler_steps import BATCH, Stepper, UnavailableError
from quantum_control.fleet.scaler_target import Target

FIRST = 1000 * EPOCH
ROWS = 6
SERVER = "http://prometheus:9090"


def target(name, **metadata):
    said = {"query": f"load_{name}", "perPod": "2", "model": "optomechanical", **metadata}
    return Target.of("shop", f"{name}", said, {SERVER: None})


def targets(**metadata):
    return {number: target(number, **metadata) for number in range(ROWS)}


def load(points=3 * EPOCH):
    rng = np.random.default_rng(1)
    level = 40.0 * (1.0 + 0.5 * np.sin(np.arange(points) / 100.0))
    flow = rng.poisson(level[:, None], (points, ROWS)).astype(float)
    flow[100:140, 3] = np.nan  # a gap
    flow[: EPOCH + 300, 5] = np.nan  # one that came later
    return Points(flow, np.full_like(flow, np.nan))


def part(points, first, last, rows=slice(None)):
    """What was measured from one point of the grid to another."""
    steps = slice(first - FIRST, last - FIRST + 1)
    return Points(points.flow[steps, rows], points.waiting[steps, rows])


def warmed(points, now, model):
    """Replicas at `now` of a scaler that has just been started."""
    first = window_start(now)
    return Runs().warm(targets(model=model), part(points, first, now), first)


@pytest.mark.parametrize("model", ["optomechanical", "coherent", "parametric", "auto"])
def test_one_that_has_been_there_for_long_agrees_with_one_just_started(model):
    points = load()
    start = FIRST + EPOCH + 10
    rows, runs = targets(model=model), Runs()
    runs.warm(rows, part(points, FIRST, start), FIRST)
    compared = {
        start + 1,
        FIRST + EPOCH + 301,
        FIRST + 2 * EPOCH - 1,
        FIRST + 2 * EPOCH,
        FIRST + 3 * EPOCH - 1,
    }
    for now in range(start + 1, FIRST + 3 * EPOCH):
        replicas = runs.advance(now, rows, points.flow[now - FIRST], points.waiting[now - FIRST])
        if now in compared:
            np.testing.assert_array_equal(replicas, warmed(points, now, model))


def test_targets_taken_up_one_by_one_agree_with_those_taken_up_together():
    points, now = load(), FIRST + EPOCH + 200
    runs, rows = Runs(), targets()
    alone = [
        runs.warm({number: each}, part(points, FIRST, now, [number]), FIRST)[0]
        for number, each in rows.items()
    ]
    together = warmed(points, now, "optomechanical")
    np.testing.assert_array_equal(alone, together)
    np.testing.assert_array_equal(
        runs.advance(now + 1, rows, points.flow[now + 1 - FIRST], points.waiting[now + 1 - FIRST]),
        warmed(points, now + 1, "optomechanical"),
    )


def test_a_target_that_is_gone_leaves_the_others_as_they_are():
    points, now = load(), FIRST + EPOCH + 200
    rows, runs = targets(), Runs()
    runs.warm(rows, part(points, FIRST, now), FIRST)
    del rows[2]
    left = [0, 1, 3, 4, 5]
    step = now + 1 - FIRST
    replicas = runs.advance(now + 1, rows, points.flow[step, left], points.waiting[step, left])
    np.testing.assert_array_equal(replicas, warmed(points, now + 1, "optomechanical")[left])


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


class Scaler:
    """A fleet and what steps it, in one process and one thread."""

    def __init__(self, server, clock, monotonic=None):
        self.stepper = Stepper({SERVER: server}, clock=clock)
        self.fleet = Fleet([SERVER], self.stepper, clock=clock, monotonic=monotonic or clock)
        self.track, self.replicas = self.fleet.track, self.fleet.replicas

    def round(self):
        for report in self.stepper.round():
            self.fleet.heard(report)
        self.fleet.worked(self.stepper.counts)


METADATA = {"query": "load", "perPod": "2", "hold": "60"}


def test_a_server_that_is_down_is_caught_up_with():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    server.down = True
    for _ in range(40):
        clock.now += 15.0
        ours.round()
    server.down = False
    ours.round()
    fresh = Scaler(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert ours.replicas(mine) == fresh.replicas(theirs)
    assert ours.fleet.counts.failures == 40


def test_a_server_that_is_down_from_the_start_is_named_in_the_answer():
    server, clock = Server(), Clock()
    server.down = True
    ours = Scaler(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    assert mine.known
    with pytest.raises(UnavailableError, match="it gives no answer"):
        ours.replicas(mine)
    server.down = False
    ours.round()
    assert ours.replicas(mine) > 0


def test_the_last_value_is_held_and_then_there_is_none():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
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


@pytest.mark.parametrize("key", ["query", "backlog"])
def test_a_wrong_query_does_not_harm_the_others(key):
    server, clock = Server(), Clock()
    server.wrong = "load("
    ours = Scaler(server, clock)
    good = ours.track("shop", "web", METADATA)
    bad = ours.track("shop", "bad", {**METADATA, key: "load("})
    ours.round()
    assert ours.replicas(good) > 0
    with pytest.raises(QueryError):
        ours.replicas(bad)


def test_what_nobody_asks_for_is_dropped_and_comes_back_the_same():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    ours.track("shop", "web", METADATA)
    kept = ours.track("shop", "kept", METADATA)
    ours.round()
    clock.now += FORGET + 1.0
    ours.fleet.touch(kept)
    ours.round()
    assert len(ours.fleet) == 1
    clock.now += 15.0
    again = ours.track("shop", "web", METADATA)
    ours.round()
    fresh = Scaler(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert ours.replicas(again) == ours.replicas(kept) == fresh.replicas(theirs)


def test_after_a_pause_that_is_too_long_to_catch_up_targets_begin_anew():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    clock.now += 15.0 * 3 * EPOCH
    ours.fleet.touch(mine)
    ours.round()
    fresh = Scaler(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert ours.replicas(mine) == fresh.replicas(theirs)


HOUR = 3600.0


def test_a_clock_that_is_set_back_ends_no_stepping():
    server, clock, monotonic = Server(), Clock(), Clock()
    ours = Scaler(server, clock, monotonic)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    clock.now -= HOUR
    for _ in range(3):
        clock.now, monotonic.now = clock.now + 15.0, monotonic.now + 15.0
        ours.round()
    fresh = Scaler(server, clock)
    theirs = fresh.track("shop", "web", METADATA)
    fresh.round()
    assert mine.seen == theirs.seen == ours.stepper._due(15.0)
    assert ours.replicas(mine) == fresh.replicas(theirs)


def test_one_that_is_set_back_by_less_than_a_point_is_waited_for():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    ours.track("shop", "web", METADATA)
    ours.round()
    clock.now -= 10.0
    ours.round()
    assert ours.fleet.counts.warmed == 1


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_the_last_value_is_held_no_longer_for_the_clock_is_set(step):
    server, clock, monotonic = Server(), Clock(), Clock()
    ours = Scaler(server, clock, monotonic)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    held = ours.replicas(mine)
    server.down = True
    clock.now += step
    ours.round()
    monotonic.now += 60.0
    assert ours.replicas(mine) == held
    monotonic.now += 60.0
    with pytest.raises(UnavailableError, match="it gives no answer"):
        ours.replicas(mine)


def test_more_targets_than_are_warmed_up_at_once_have_their_turn():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    many = [ours.track("shop", f"web-{i}", METADATA) for i in range(BATCH + 3)]
    ours.round()
    assert ours.stepper.pause == 0.0
    ours.round()
    assert ours.stepper.pause > 0.0
    assert len({ours.replicas(each) for each in many}) == 1
    assert ours.fleet.counts.warmed == len(many)


def test_a_target_that_is_told_of_twice_is_stepped_once():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    ours.stepper.take(ours.fleet.targets)
    ours.round()
    clock.now += 15.0
    ours.round()
    assert ours.fleet.counts.warmed == 1
    assert mine.seen == ours.stepper._due(15.0)


def test_only_what_changed_is_told():
    server, clock = Server(), Clock()
    ours, told = Scaler(server, clock), []
    ours.fleet.advanced = told.append
    mine = ours.track("shop", "web", METADATA)
    ours.round()
    clock.now += 15.0
    ours.round()
    assert told == [[mine]]
    idle = ours.track("shop", "idle", {**METADATA, "activation": "1000"})
    ours.round()
    assert told == [[mine], [idle]]


def test_replicas_stay_within_their_bounds():
    server, clock = Server(), Clock()
    ours = Scaler(server, clock)
    low = ours.track("shop", "low", {**METADATA, "maxReplicas": "3"})
    high = ours.track("shop", "high", {**METADATA, "minReplicas": "90"})
    ours.round()
    assert (ours.replicas(low), ours.replicas(high)) == (3, 90)


def test_a_target_that_is_not_the_servers_to_ask_is_refused():
    with pytest.raises(ConfigError, match="--prometheus"):
        target("web", serverAddress="http://elsewhere:9090")

"""How many back ends are in use: draining, spares, and the controller that decides."""

from __future__ import annotations

from itertools import pairwise

import pytest
from resources.fake_balancer import CAPACITIES, Clock, FakeBalancer, run

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError
from quantum_control.resources.loadbalancer import LoadBalancerResource


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def balancer():
    return FakeBalancer(CAPACITIES)


@pytest.fixture
def resource(balancer, clock):
    return LoadBalancerResource(balancer=balancer, clock=clock)


@pytest.fixture
def elastic(balancer, clock):
    return LoadBalancerResource(
        balancer=balancer, clock=clock, min_backends=1, spares=["10.0.0.9:80", "10.0.0.8:80"]
    )


def test_fewer_in_use_drains_the_slowest(elastic, balancer, clock):
    run(elastic, balancer, clock, 40)
    elastic.apply_control(2)
    assert [name for name, weight in balancer.weights.items() if weight] == ["c", "d"]
    run(elastic, balancer, clock, 10, rate=100.0)
    assert [name for name, weight in balancer.weights.items() if weight] == ["c", "d"]


def test_more_in_use_takes_back_what_was_kept_out_and_then_spares(elastic, balancer, clock):
    run(elastic, balancer, clock, 40)
    elastic.apply_control(3)
    elastic.apply_control(5)
    assert balancer.weights["a"] > 0
    assert "10.0.0.9:80" in balancer.back_ends
    assert "10.0.0.8:80" not in balancer.back_ends
    state = run(elastic, balancer, clock, 30, rate=400.0)
    assert state.size == 5.0
    assert all(balancer.weights.values())


def test_what_was_added_is_taken_out_once_it_is_empty(elastic, balancer, clock):
    elastic.apply_control(6)
    balancer.busy = {"10.0.0.9:80"}
    elastic.apply_control(4)
    run(elastic, balancer, clock, 2)
    assert list(balancer.back_ends) == ["a", "b", "c", "d", "10.0.0.9:80"]
    balancer.busy = set()
    run(elastic, balancer, clock, 1)
    assert list(balancer.back_ends) == ["a", "b", "c", "d"]
    elastic.apply_control(6)
    assert len(balancer.back_ends) == 6


def test_release_takes_out_what_was_added_or_says_what_holds_it(elastic, balancer, clock):
    elastic.apply_control(5)
    run(elastic, balancer, clock, 3)
    balancer.busy = {"10.0.0.9:80"}
    with pytest.raises(ActuatorError, match=r"10\.0\.0\.9:80 was added and requests hold on to it"):
        elastic.release()
    assert balancer.weights == {"a": 100, "b": 100, "c": 100, "d": 100, "10.0.0.9:80": 0}
    balancer.busy = set()
    elastic.release()
    assert list(balancer.back_ends) == ["a", "b", "c", "d"]


def test_an_added_one_that_got_there_although_it_failed_is_ours_and_taken_out(elastic, balancer, clock):
    balancer.torn = True
    with pytest.raises(ActuatorError, match="cut"):
        elastic.apply_control(5)
    assert "10.0.0.9:80" in balancer.back_ends
    assert run(elastic, balancer, clock, 2).size == 4.0
    assert list(balancer.back_ends) == ["a", "b", "c", "d"]
    with pytest.raises(ActuatorError, match="cut"):
        elastic.apply_control(5)
    elastic.release()
    assert list(balancer.back_ends) == ["a", "b", "c", "d"]
    assert elastic.foreign == {}


def test_an_added_one_that_got_there_although_it_failed_is_used_by_the_next_try(elastic, balancer, clock):
    balancer.torn = True
    with pytest.raises(ActuatorError, match="cut"):
        elastic.apply_control(5)
    elastic.apply_control(5)
    assert balancer.weights["10.0.0.9:80"] > 0
    assert len(balancer.back_ends) == 5


def test_an_added_one_that_is_half_in_is_not_used(elastic, balancer, clock):
    balancer.torn = True
    with pytest.raises(ActuatorError, match="cut"):
        elastic.apply_control(5)
    balancer.torn = False
    balancer.set("10.0.0.9:80", up=False)  # HAProxy takes a server in in maintenance
    elastic.apply_control(5)
    assert (balancer.weights["10.0.0.9:80"], balancer.weights["10.0.0.8:80"]) == (0, 10)
    run(elastic, balancer, clock, 1)
    assert list(balancer.back_ends) == [*CAPACITIES, "10.0.0.8:80"]


def test_one_that_is_refused_can_be_added_later(elastic, balancer, clock, caplog):
    balancer.read_only = True
    for _ in range(2):
        with pytest.raises(ActuatorError, match="refused"):
            elastic.apply_control(5)
    balancer.read_only = False
    elastic.apply_control(6)
    assert len(balancer.back_ends) == 6
    assert "removed by somebody else" not in caplog.text


def test_more_than_there_are_is_refused_and_nothing_changes(resource, balancer):
    with pytest.raises(ActuatorError, match="no 5 back ends"):
        resource.apply_control(5)
    assert balancer.writes == []


@pytest.mark.parametrize(
    ("hand", "told"),
    [
        (None, "a is not there any more"),
        ({"weight": 77}, "a is left at the weight 77, which somebody else has set"),
    ],
)
def test_the_end_puts_back_what_is_still_there_with_its_weight_and_names_the_rest(
    balancer, clock, caplog, hand, told
):
    resource = LoadBalancerResource(balancer=balancer, clock=clock, min_backends=1)
    controller = QuantumController(resource, clock=clock)
    for _ in range(60):
        balancer.serve(60.0)
        clock.now += 1.0
        controller.optimize()
    assert in_use(balancer) == ["d"]
    if hand is None:
        del balancer.back_ends["a"]
    else:
        balancer.set("a", **hand)
    controller.stop()
    assert (balancer.weights["b"], balancer.weights["c"]) == (100, 100)
    assert balancer.weights["d"] > 0
    assert f"4 back ends were to be in use, as found, and 3 are: {told}" in caplog.text
    resource.release()
    theirs = {} if hand is None else {"a": 77}
    assert balancer.weights == {"b": 100, "c": 100, "d": 100} | theirs


def test_another_number_than_was_found_is_refused_where_there_are_not_so_many(elastic, balancer, clock):
    run(elastic, balancer, clock, 10)
    elastic.apply_control(2)
    kept = in_use(balancer)
    for name in (kept[0], *(set("abcd") - set(kept))):
        del balancer.back_ends[name]
    elastic._roster._spares.clear()
    with pytest.raises(ActuatorError, match="no 3 back ends"):
        elastic.apply_control(3)
    assert in_use(balancer) == kept[1:]


def test_one_that_is_down_or_ejected_is_put_back_like_the_others(elastic, balancer, clock, caplog):
    run(elastic, balancer, clock, 10)
    balancer.serve(250.0)
    balancer.set("d", failed=balancer.back_ends["d"].ended)
    balancer.set("a", up=False)
    clock.now += 1.0
    elastic.measure_state()
    elastic.apply_control(1)
    elastic.apply_control(4)
    assert len(in_use(balancer)) == 4
    assert "were to be in use" not in caplog.text


def test_one_that_is_removed_by_somebody_else_is_replaced_by_a_spare(elastic, balancer, clock):
    run(elastic, balancer, clock, 10)
    del balancer.back_ends["d"]
    run(elastic, balancer, clock, 2)
    assert "10.0.0.9:80" in balancer.back_ends


def test_of_more_than_there_are_none_is_taken_into_use(elastic, balancer, clock):
    run(elastic, balancer, clock, 10)
    before = len(balancer.writes)
    balancer.set("a", weight=77)  # by somebody else: three are left, and two spares
    with pytest.raises(ActuatorError, match="there are 3 in use, and 2 kept out or spare"):
        elastic.apply_control(6)
    assert list(balancer.back_ends) == list(CAPACITIES)
    assert len(balancer.writes) == before


@pytest.mark.parametrize("hand", ["removed", "drained"])
def test_where_somebody_takes_away_the_only_one_in_use_another_takes_its_place(
    elastic, balancer, clock, hand
):
    name = sole(elastic, balancer, clock)
    before = run(elastic, balancer, clock, 1, rate=30.0)
    if hand == "removed":
        del balancer.back_ends[name]
    else:
        balancer.set(name, weight=0)
    assert run(elastic, balancer, clock, 1, rate=30.0) == before  # of none nothing is measured
    assert len(in_use(balancer)) == 1
    assert name not in in_use(balancer)


def test_a_spare_that_a_restart_has_taken_out_is_added_again(elastic, balancer, clock):
    elastic.apply_control(5)
    run(elastic, balancer, clock, 5)
    balancer.run = "2"
    del balancer.back_ends["10.0.0.9:80"]
    for name in CAPACITIES:
        balancer.set(name, weight=100)
    run(elastic, balancer, clock, 2)
    assert len(balancer.back_ends) == 5
    elastic.release()
    assert list(balancer.back_ends) == ["a", "b", "c", "d"]


def test_the_controller_takes_in_more_under_load_and_gives_them_back(balancer, clock):
    with LoadBalancerResource(balancer=balancer, clock=clock, spares=["10.0.0.9:80"]) as resource:
        controller = QuantumController(resource, clock=clock)
        for _ in range(60):
            balancer.serve(430.0)
            clock.now += 1.0
            controller.optimize()
        assert "10.0.0.9:80" in balancer.back_ends
        for _ in range(60):
            balancer.serve(100.0)
            clock.now += 1.0
            controller.optimize()
        assert "10.0.0.9:80" not in balancer.back_ends
        controller.stop()
    assert balancer.weights == {"a": 100, "b": 100, "c": 100, "d": 100}


def test_the_last_healthy_one_stays_though_it_was_added(elastic, balancer, clock):
    elastic.apply_control(5)
    run(elastic, balancer, clock, 10)
    for name in CAPACITIES:
        balancer.set(name, up=False)
    run(elastic, balancer, clock, 1)
    elastic.apply_control(1)
    run(elastic, balancer, clock, 2)
    assert [name for name, weight in balancer.weights.items() if weight] == ["10.0.0.9:80"]


def test_one_that_is_ejected_leaves_before_one_that_was_added(elastic, balancer, clock):
    elastic.apply_control(5)
    run(elastic, balancer, clock, 20, rate=400.0)
    balancer.serve(400.0)
    balancer.set("d", failed=balancer.back_ends["d"].ended)
    clock.now += 1.0
    elastic.measure_state()
    elastic.apply_control(4)
    assert balancer.writes[-1] == {"d": 0}


def test_one_that_is_kept_out_takes_over_when_all_in_use_are_down(elastic, balancer, clock):
    run(elastic, balancer, clock, 40)
    elastic.apply_control(2)
    for name in ("a", "c", "d"):
        balancer.set(name, up=False)
    run(elastic, balancer, clock, 2)
    assert balancer.weights["b"] > 0
    assert elastic.get_metrics()["members"] == 2.0


def test_with_all_down_nothing_is_moved_about(elastic, balancer, clock):
    run(elastic, balancer, clock, 40)
    elastic.apply_control(2)
    for name in CAPACITIES:
        balancer.set(name, up=False)
    run(elastic, balancer, clock, 5)
    ordered = len(balancer.writes)
    run(elastic, balancer, clock, 20)
    assert len(balancer.writes) == ordered


def test_one_that_is_handed_over_again_takes_its_place_and_the_number_stays(elastic, balancer, clock):
    run(elastic, balancer, clock, 40)
    elastic.apply_control(2)
    run(elastic, balancer, clock, 10, rate=100.0)
    ordered = balancer.weights["d"]
    balancer.set("d", weight=ordered + 7)
    run(elastic, balancer, clock, 10, rate=100.0)
    assert sum(weight > 0 for name, weight in balancer.weights.items() if name != "d") == 2
    balancer.set("d", weight=ordered)
    run(elastic, balancer, clock, 10, rate=100.0)
    assert elastic.foreign == {}
    assert sum(weight > 0 for weight in balancer.weights.values()) == 2


def sole(elastic, balancer, clock):
    run(elastic, balancer, clock, 40, rate=30.0)
    elastic.apply_control(1)
    run(elastic, balancer, clock, 10, rate=30.0)
    (name,) = in_use(balancer)
    return name


def in_use(balancer):
    return [name for name, weight in balancer.weights.items() if weight]


def fails(elastic, balancer, clock, names, steps):
    """Steps in which these answer with errors; who was in use after each."""
    course = []
    for _ in range(steps):
        before = {name: balancer.back_ends[name] for name in names}
        balancer.serve(30.0)
        for name in names:
            now = balancer.back_ends[name]
            balancer.set(name, failed=now.failed + now.ended - before[name].ended)
        clock.now += 1.0
        elastic.measure_state()
        course.append(tuple(in_use(balancer)))
    return course


def test_a_sole_one_that_fails_changes_places_with_one_that_is_kept_out(elastic, balancer, clock):
    name = sole(elastic, balancer, clock)
    course = fails(elastic, balancer, clock, [name], 15)
    assert course[-1] != (name,)
    assert len(course[-1]) == 1
    assert len(set(course)) <= 2  # once, and no more


def test_a_sole_one_that_stalls_changes_places_with_one_that_is_kept_out(elastic, balancer, clock):
    name = sole(elastic, balancer, clock)
    for held in range(5, 105, 30):
        one = balancer.back_ends[name]
        balancer.set(name, started=one.started + 30, in_flight=float(held))
        clock.now += 1.0
        elastic.measure_state()
    assert name not in in_use(balancer)
    assert len(in_use(balancer)) == 1


def test_where_all_fail_places_are_changed_ever_more_seldom(elastic, balancer, clock):
    sole(elastic, balancer, clock)
    course = fails(elastic, balancer, clock, list(CAPACITIES), 150)
    changes = sum(one != other for one, other in pairwise(course))
    assert 1 <= changes <= 5

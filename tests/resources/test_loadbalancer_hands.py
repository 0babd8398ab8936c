"""A balancer whose weights somebody else changes as well, or that is restarted."""

from __future__ import annotations

import gc

import pytest
from resources.fake_balancer import CAPACITIES, Clock, FakeBalancer, run

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


def test_a_weight_changed_by_hand_is_respected_reported_and_not_put_back(resource, balancer, clock, caplog):
    run(resource, balancer, clock)
    balancer.set("c", weight=77)
    run(resource, balancer, clock)
    assert balancer.weights["c"] == 77
    assert resource.foreign == {"c": 77}
    assert resource.get_metrics()["foreign"] == 1.0
    assert caplog.text.count("somebody else has changed it") == 1
    resource.release()
    assert balancer.weights == {"a": 100, "b": 100, "c": 77, "d": 100}


def test_what_was_changed_after_the_last_measurement_is_noticed_before_the_number_changes(balancer, clock):
    resource = LoadBalancerResource(balancer=balancer, clock=clock, min_backends=1)
    run(resource, balancer, clock, 2)
    balancer.set("a", weight=77)
    resource.apply_control(1)
    assert balancer.weights == {"a": 77, "b": 0, "c": 0, "d": 100}


def test_a_forgotten_resource_leaves_what_was_changed_after_it_last_looked(balancer, clock):
    resource = LoadBalancerResource(balancer=balancer, clock=clock)
    run(resource, balancer, clock)
    balancer.set("c", weight=77)
    del resource
    gc.collect()
    assert balancer.weights == {"a": 100, "b": 100, "c": 77, "d": 100}


def test_a_share_set_by_hand_stays_that_share(resource, balancer, clock):
    run(resource, balancer, clock, 40)
    balancer.set("c", weight=150)
    share = 150 / sum(balancer.weights.values())
    run(resource, balancer, clock, 40, rate=150.0)
    assert 150 / sum(balancer.weights.values()) == pytest.approx(share, rel=0.1)


def test_it_is_handed_over_again_by_the_weight_ordered_last(resource, balancer, clock):
    run(resource, balancer, clock, 40)
    ordered = balancer.weights["c"]
    balancer.set("c", weight=77)
    run(resource, balancer, clock, 3)
    balancer.set("c", weight=ordered)
    run(resource, balancer, clock, 1)
    assert resource.foreign == {}


def test_a_back_end_found_without_weight_is_not_ours_until_somebody_gives_it_one(balancer, clock):
    balancer.set("a", weight=0)
    resource = LoadBalancerResource(balancer=balancer, clock=clock)
    assert resource.max_size == 3
    run(resource, balancer, clock)
    assert balancer.weights["a"] == 0
    balancer.set("a", weight=50)
    run(resource, balancer, clock, 20)
    assert resource.foreign == {}
    assert balancer.weights["a"] != 50
    resource.release()
    assert balancer.weights == {"a": 50, "b": 100, "c": 100, "d": 100}


def test_spare_servers_of_the_balancer_are_left_alone(balancer, clock):
    balancer.set("a", spare=True)
    resource = LoadBalancerResource(balancer=balancer, clock=clock)
    run(resource, balancer, clock)
    assert balancer.weights["a"] == 100
    assert max(balancer.weights.values()) == 256


def test_a_restart_is_no_other_hand(resource, balancer, clock, caplog):
    run(resource, balancer, clock)
    balancer.run = "2"
    for name in CAPACITIES:
        balancer.set(name, weight=100, started=0, ended=0, failed=0)
    run(resource, balancer, clock, 5)
    assert "restarted" in caplog.text
    assert resource.foreign == {}
    run(resource, balancer, clock, 30)
    assert balancer.weights["a"] < balancer.weights["d"]
    resource.release()
    assert set(balancer.weights.values()) == {100}


def test_weights_that_a_restart_has_kept_stay_ours(resource, balancer, clock):
    run(resource, balancer, clock, 40, rate=60.0)
    assert balancer.weights["a"] == 0
    balancer.run = "2"
    run(resource, balancer, clock, 1, rate=60.0)
    assert resource.foreign == {}
    resource.release()
    assert set(balancer.weights.values()) == {100}


def test_a_back_end_that_somebody_removes_is_forgotten(resource, balancer, clock, caplog):
    run(resource, balancer, clock)
    del balancer.back_ends["b"]
    run(resource, balancer, clock)
    assert "removed by somebody else" in caplog.text
    assert "b" not in resource.plan
    resource.release()
    assert set(balancer.weights.values()) == {100}

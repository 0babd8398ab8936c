"""LoadBalancerResource before a balancer in memory: measuring, weighing, giving back."""

from __future__ import annotations

import gc

import pytest
from forked import in_child
from resources.fake_balancer import CAPACITIES, Clock, FakeBalancer, run

from quantum_control.core.ejection import Standing
from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
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


def test_making_one_changes_nothing(resource, balancer):
    assert balancer.writes == []
    assert resource.unit == "back ends"
    assert (resource.min_size, resource.max_size) == (4, 4)


def test_faster_back_ends_get_more(resource, balancer, clock):
    run(resource, balancer, clock, 60)
    weights = balancer.weights
    assert weights["a"] < weights["b"] < weights["c"]
    assert weights["c"] == pytest.approx(weights["d"], rel=0.1)
    assert max(weights.values()) == 256


def test_at_light_load_the_second_fastest_keeps_a_weight(balancer, clock):
    for name, capacity in (("a", 100.0), ("b", 10.0), ("c", 30.0), ("d", 20.0)):
        balancer.capacities[name] = capacity
    resource = LoadBalancerResource(balancer=balancer, clock=clock)
    seen = []
    for _ in range(80):
        run(resource, balancer, clock, 1, rate=20.0)
        seen.append(balancer.weights)
    assert balancer.weights["a"] == 256
    assert balancer.weights["c"] == 1
    assert {"b": 0, "d": 0}.items() <= balancer.weights.items()
    assert all(sum(weight > 0 for weight in weights.values()) >= 2 for weights in seen)
    balancer.set("a", up=False)
    run(resource, balancer, clock, 1, rate=20.0)
    assert balancer.weights["c"] >= 1


def test_the_size_is_the_number_in_use_and_the_demand_the_number_filled(resource, balancer, clock):
    state = run(resource, balancer, clock, 60)
    assert state.size == 4.0
    assert state.demand == pytest.approx(4.0 * 250.0 / 440.0, rel=0.1)


def test_metrics_tell_of_the_whole_and_of_each(resource, balancer, clock):
    assert resource.get_metrics() == {}
    run(resource, balancer, clock, 30)
    metrics = resource.get_metrics()
    assert metrics["throughput"] == pytest.approx(250.0, rel=0.02)
    assert metrics["errors"] == 0.0
    assert metrics["members"] == 4.0
    assert metrics["weight.d"] == float(balancer.weights["d"])
    assert metrics["capacity.d"] == pytest.approx(160.0, rel=0.1)
    assert metrics["latency_seconds"] == pytest.approx(metrics["in_flight"] / metrics["throughput"])
    for kind in ("throughput", "errors", "in_flight", "up"):
        whole = metrics["members"] if kind == "up" else metrics[kind]
        assert sum(metrics[f"{kind}.{name}"] for name in CAPACITIES) == pytest.approx(whole)
    assert metrics["latency_seconds.d"] == pytest.approx(
        balancer.back_ends["d"].in_flight / metrics["throughput.d"]
    )
    balancer.set("d", up=False)
    run(resource, balancer, clock, 1)
    assert resource.get_metrics()["up.d"] == 0.0
    assert resource.get_metrics()["ejected"] == 0.0  # the balancer itself has taken it down


def test_small_changes_are_not_ordered(resource, balancer, clock):
    run(resource, balancer, clock, 60, rate=350.0)
    ordered = len(balancer.writes)
    run(resource, balancer, clock, 20, rate=350.0)
    assert len(balancer.writes) == ordered


def test_without_steering_weights_are_computed_and_left_alone(balancer, clock):
    resource = LoadBalancerResource(balancer=balancer, clock=clock, steer_weights=False)
    run(resource, balancer, clock, 30)
    assert balancer.writes == []
    assert resource.get_metrics()["share.d"] > resource.get_metrics()["share.a"]


def test_a_call_without_time_passing_orders_nothing(resource, balancer):
    resource.measure_state()
    resource.measure_state()
    assert balancer.writes == []


def test_a_back_end_that_fails_is_drained_and_reported(resource, balancer, clock):
    run(resource, balancer, clock, 10)
    balancer.serve(250.0)
    balancer.set("b", failed=balancer.back_ends["b"].ended)
    clock.now += 1.0
    resource.measure_state()
    assert balancer.weights["b"] == 0
    assert resource.plan["b"].standing is Standing.OUT
    assert resource.get_metrics()["ejected"] == 1.0


def test_one_that_is_down_keeps_a_weight_for_when_it_is_up_again(resource, balancer, clock):
    run(resource, balancer, clock, 10)
    balancer.set("d", up=False)
    run(resource, balancer, clock, 2)
    assert balancer.weights["d"] == 1
    balancer.set("d", up=True)
    run(resource, balancer, clock, 1)
    assert 1 <= balancer.weights["d"] < 100
    run(resource, balancer, clock, 20)
    assert balancer.weights["d"] > 150


def test_release_puts_every_weight_back(resource, balancer, clock):
    run(resource, balancer, clock)
    assert set(balancer.weights.values()) != {100}
    resource.release()
    assert set(balancer.weights.values()) == {100}
    resource.release()


def test_release_asks_nothing_of_a_balancer_that_holds_nothing_of_ours(resource, balancer, clock):
    run(resource, balancer, clock)
    resource.release()
    balancer.gone = True
    resource.release()


def test_release_before_a_balancer_that_is_gone_is_told_and_may_be_repeated(resource, balancer, clock):
    run(resource, balancer, clock)
    balancer.gone = True
    with pytest.raises(SensorError, match="nobody there"):
        resource.release()
    balancer.gone = False
    resource.release()
    assert set(balancer.weights.values()) == {100}


def test_the_context_manager_releases(balancer, clock):
    with LoadBalancerResource(balancer=balancer, clock=clock) as resource:
        run(resource, balancer, clock)
    assert set(balancer.weights.values()) == {100}


def test_a_forgotten_resource_puts_every_weight_back_when_it_is_collected(balancer, clock):
    resource = LoadBalancerResource(balancer=balancer, clock=clock)
    run(resource, balancer, clock)
    del resource
    gc.collect()
    assert set(balancer.weights.values()) == {100}


def test_a_forked_child_gives_back_what_it_has_ordered_itself_alone(balancer, clock):
    kept = [LoadBalancerResource(balancer=balancer, clock=clock)]
    run(kept[0], balancer, clock)
    before = balancer.weights

    def child():
        kept[0].release()
        assert balancer.weights == before != dict.fromkeys(before, 100)
        run(kept[0], balancer, clock)
        kept[0].release()
        assert balancer.weights == dict.fromkeys(before, 100)

    def forgetting():
        kept.clear()
        gc.collect()
        assert balancer.weights == before

    assert in_child(child) == 0
    assert in_child(forgetting) == 0


def test_steering_starts_afresh_after_release(resource, balancer, clock):
    run(resource, balancer, clock)
    resource.release()
    run(resource, balancer, clock, 2)
    assert set(balancer.weights.values()) == {100}
    run(resource, balancer, clock, 30)
    assert set(balancer.weights.values()) != {100}


def test_a_balancer_that_is_gone_is_told_and_steering_goes_on_when_it_is_back(resource, balancer, clock):
    run(resource, balancer, clock, 10)
    before = balancer.weights
    balancer.gone = True
    with pytest.raises(SensorError, match="nobody there"):
        run(resource, balancer, clock, 1)
    assert balancer.weights == before
    balancer.gone = False
    run(resource, balancer, clock, 20)
    assert resource.foreign == {}


def test_a_balancer_that_refuses_is_told_and_weights_stay(resource, balancer, clock):
    balancer.read_only = True
    with pytest.raises(ActuatorError, match="refused"):
        run(resource, balancer, clock, 10)
    assert set(balancer.weights.values()) == {100}
    balancer.read_only = False
    run(resource, balancer, clock, 20)
    assert resource.foreign == {}
    assert balancer.weights["d"] == 256


def test_an_order_that_got_there_although_it_failed_is_no_other_hand(resource, balancer, clock):
    real = balancer.write

    def torn(weights):
        real(weights)
        raise ActuatorError("the line was cut")

    balancer.write = torn
    with pytest.raises(ActuatorError):
        run(resource, balancer, clock, 10)
    balancer.write = real
    run(resource, balancer, clock, 3)
    assert resource.foreign == {}
    resource.release()
    assert set(balancer.weights.values()) == {100}


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"min_backends": 0}, "min_backends"),
        ({"min_backends": 3, "max_backends": 2}, "1 <= min <= max"),
        ({"max_backends": 9}, "there are 4 back ends and 0 spares"),
        ({"spares": ["here"]}, "host:port"),
        ({"spares": ["::1:80"]}, "for IPv6"),
        ({"max_out": 2.0}, "max_out"),
        ({"url": "haproxy+unix:///x?backend=app"}, "either url= or balancer="),
    ],
)
def test_wrong_parameters_are_refused(balancer, parameters, message):
    with pytest.raises(ConfigError, match=message):
        LoadBalancerResource(balancer=balancer, **parameters)


def test_neither_url_nor_balancer_is_refused():
    with pytest.raises(ConfigError, match="either url= or balancer="):
        LoadBalancerResource()


def test_a_set_without_any_weight_is_refused(balancer):
    for name in CAPACITIES:
        balancer.set(name, weight=0)
    with pytest.raises(ConfigError, match="nothing to steer"):
        LoadBalancerResource(balancer=balancer)

"""LoadBalancerResource before a real HAProxy with six real HTTP servers."""

from __future__ import annotations

import random

import pytest
from integration.balanced import SPEEDS, Steps, under_load, until, weights

from quantum_control.core.controller import QuantumController
from quantum_control.core.ejection import Standing
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration

INTERVAL = 0.2


def steered(balancer, fast, slow):
    found = weights(balancer)
    return found[fast] > 2 * found[slow]


FOUND = dict.fromkeys((f"s{i}" for i in range(6)), 100)


@pytest.mark.parametrize("way", ["unix", "tcp"])
def test_weights_are_set_and_read_by_either_socket(haproxy, by_hand, way):
    url = haproxy.url if way == "unix" else f"haproxy+tcp://127.0.0.1:{haproxy.admin_port}?backend=app"
    balancer = open_balancer(url)
    balancer.read()
    balancer.write({"s0": 7, "s1": 0, "s5": 256})
    assert "7 (initial 100)" in by_hand("get weight app/s0")
    assert weights(balancer) == FOUND | {"s0": 7, "s1": 0, "s5": 256}
    balancer.write({"s0": 100, "s1": 100, "s5": 100})
    assert weights(balancer) == FOUND


def test_the_controller_steers_it_and_release_puts_everything_back(haproxy):
    balancer = open_balancer(haproxy.url)
    with LoadBalancerResource(haproxy.url) as resource:
        controller = QuantumController(resource, interval=INTERVAL)
        controller.start()
        answers = under_load(haproxy.port, 300.0, 9000, lambda _: steered(balancer, "s5", "s0"), 0.5)
        controller.stop()
        assert steered(balancer, "s5", "s0")
        assert controller.failures == 0
        assert controller.metrics["orders"] > 0
    assert weights(balancer) == FOUND
    assert {answer.status for answer in answers} == {200}


def test_no_request_is_lost_through_changes_of_weight(servers, haproxy):
    # Each could bear it alone, however long a busy machine keeps a weight: only changes can lose any.
    for i in range(len(SPEEDS)):
        servers.become(i, speed=2000.0)
    balancer = open_balancer(haproxy.url)
    balancer.read()
    rng = random.Random(3)

    def shuffle(_):
        changed = {f"s{i}": rng.choice((0, 1, 30, 100, 256)) for i in range(5)}
        balancer.write(changed)
        return False

    answers = under_load(haproxy.port, 400.0, 2000, shuffle, 0.03)
    assert len(answers) == 2000
    assert {answer.status for answer in answers} == {200}


def test_a_stalled_back_end_gets_nothing_after_two_intervals(servers, haproxy):
    resource = LoadBalancerResource(haproxy.url)
    steps = Steps(resource, open_balancer(haproxy.url))
    stalled_at = 15

    def step(k):
        steps(k)
        if k == stalled_at:
            servers.become(4, mode="stalled")
        return k == stalled_at + 6

    under_load(haproxy.port, 250.0, 5000, step, INTERVAL)
    # Measurements 16 and 17 end the two intervals after the stall.
    assert steps.weights[stalled_at + 2]["s4"] == 0
    assert resource.plan["s4"].standing is Standing.OUT
    assert steps.started[stalled_at + 6]["s4"] == steps.started[stalled_at + 2]["s4"]
    assert steps.started[stalled_at + 6]["s5"] > steps.started[stalled_at + 2]["s5"]
    resource.release()


def test_a_failing_back_end_is_ejected_and_brought_back_once_it_is_well(servers, haproxy):
    resource = LoadBalancerResource(haproxy.url)
    balancer = open_balancer(haproxy.url)
    standings = []

    def step(k):
        resource.measure_state()
        if resource.plan:
            standings.append(resource.plan["s3"].standing)
        if k == 8:
            servers.become(3, mode="failing")
        if standings[-1:] == [Standing.OUT]:
            servers.become(3, mode="well")
        return Standing.OUT in standings and standings[-1] is Standing.IN

    answers = under_load(haproxy.port, 250.0, 9000, step, INTERVAL)
    assert Standing.OUT in standings
    assert Standing.TRIAL in standings
    assert standings[-1] is Standing.IN
    assert sum(answer.status != 200 for answer in answers) < 150
    resource.release()
    assert weights(balancer) == FOUND


def test_spares_are_added_and_taken_out_again(servers, haproxy, by_hand):
    spare = servers.addresses[5]
    with LoadBalancerResource(haproxy.url, spares=[spare], min_backends=2) as resource:
        assert (resource.min_size, resource.max_size) == (2, 7)
        resource.apply_control(7)
        name = "qc-" + spare.replace(":", "-")
        assert weights(open_balancer(haproxy.url))[name] > 0
        resource.measure_state()
        assert resource.measure_state().size == 7
        resource.apply_control(6)
        assert until(lambda: resource.measure_state() and name not in by_hand("show servers state app"))
        resource.apply_control(2)
        resource.measure_state()
        in_use = [n for n, weight in weights(open_balancer(haproxy.url)).items() if weight]
        assert len(in_use) == 2
        resource.apply_control(7)
        assert name in by_hand("show servers state app")
    assert weights(open_balancer(haproxy.url)) == FOUND
    assert by_hand("show servers state app").count("127.0.0.1") == 6


@pytest.mark.parametrize("mode", ["failing", "stalled"])
def test_a_sole_one_that_is_sick_changes_places_with_one_that_is_kept_out(servers, haproxy, mode):
    balancer = open_balancer(haproxy.url)
    with LoadBalancerResource(haproxy.url, min_backends=1) as resource:
        sick = []

        def step(k):
            resource.measure_state()
            used = [int(name[1:]) for name, weight in weights(balancer).items() if weight]
            if k == 8:
                resource.apply_control(1)
            if k == 16:
                sick.extend(used)
                servers.become(sick[0], mode=mode)
            return k > 16 and len(used) == 1 and used != sick

        answers = under_load(haproxy.port, 60.0, 3000, step, INTERVAL)
        assert len(sick) == 1
        assert len(answers) < 3000  # else it was never replaced
        before = balancer.read().back_ends

        def served(_):
            resource.measure_state()
            return False

        under_load(haproxy.port, 60.0, 60, served, INTERVAL)
        after = balancer.read().back_ends
        assert after[f"s{sick[0]}"].started == before[f"s{sick[0]}"].started
        assert resource.measure_state().size == 1
    assert weights(balancer) == FOUND

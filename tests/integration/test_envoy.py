"""LoadBalancerResource before a real Envoy with six real HTTP servers."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from integration.balanced import SPEEDS, Steps, under_load, until, weights

from quantum_control.bench.unequal import UnequalServers
from quantum_control.core.controller import QuantumController
from quantum_control.core.ejection import Standing
from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.balancer_figures import EJECTED
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration

INTERVAL = 0.2


def steered(envoy, fast, slow):
    found = weights(open_balancer(envoy.url))
    return found[fast] > 2 * found[slow]


def taken_up(balancer, wanted):
    """Whether Envoy itself, not only the file, has these weights (0: drained)."""

    def look():
        hosts = balancer._hosts()
        return all(
            (hosts[name]["health_status"].get("eds_health_status") == "DRAINING")
            if weight == 0
            else hosts[name]["weight"] == weight
            for name, weight in wanted.items()
        )

    return until(look)


def test_weights_are_taken_up_and_the_file_comes_back_to_the_byte(servers, envoy):
    found = envoy.eds.read_bytes()
    mode = envoy.eds.stat().st_mode
    balancer = open_balancer(envoy.url)
    balancer.read()
    wanted = {servers.addresses[0]: 7, servers.addresses[1]: 0, servers.addresses[2]: 256}
    balancer.write(wanted)
    assert taken_up(balancer, wanted)
    assert weights(balancer) == dict.fromkeys(servers.addresses, 1) | wanted
    balancer.write(dict.fromkeys(wanted, 1))
    assert envoy.eds.read_bytes() == found
    assert envoy.eds.stat().st_mode == mode
    assert taken_up(balancer, dict.fromkeys(servers.addresses, 1))
    assert list(envoy.eds.parent.iterdir()) == [envoy.eds]


def test_the_controller_steers_it_and_release_puts_everything_back(servers, envoy):
    found = envoy.eds.read_bytes()
    fast, slow = servers.addresses[5], servers.addresses[0]
    with LoadBalancerResource(envoy.url) as resource:
        controller = QuantumController(resource, interval=INTERVAL)
        controller.start()
        answers = under_load(envoy.port, 300.0, 9000, lambda _: steered(envoy, fast, slow), 0.5)
        controller.stop()
        assert steered(envoy, fast, slow)
        assert controller.failures == 0
    assert envoy.eds.read_bytes() == found
    assert {answer.status for answer in answers} == {200}


def test_no_request_is_lost_through_changes_of_weight(servers, envoy):
    # Each could bear it alone, however long a busy machine keeps a weight: only changes can lose any.
    for i in range(len(SPEEDS)):
        servers.become(i, speed=2000.0)
    balancer = open_balancer(envoy.url)
    balancer.read()
    rng = random.Random(3)

    def shuffle(_):
        balancer.write({address: rng.choice((0, 1, 30, 100, 256)) for address in servers.addresses[:5]})
        return False

    answers = under_load(envoy.port, 400.0, 2000, shuffle, 0.05)
    assert len(answers) == 2000
    assert {answer.status for answer in answers} == {200}


def test_however_few_are_in_use_drained_ones_get_nothing(servers, envoy):
    # Where endpoints are unhealthy in its eyes Envoy sends to all of them, if more than half are.
    balancer = open_balancer(envoy.url)
    balancer.read()
    drained = dict.fromkeys(servers.addresses[:4], 0)
    balancer.write(drained)
    assert taken_up(balancer, drained)
    before = balancer.read().back_ends
    answers = under_load(envoy.port, 100.0, 100, lambda _: False, INTERVAL)
    assert {answer.status for answer in answers} == {200}
    after = balancer.read().back_ends
    got = {name: one.started - before[name].started for name, one in after.items()}
    assert sum(got.values()) == 100
    assert not any(got[name] for name in drained)


def test_a_stalled_back_end_gets_nothing_after_two_intervals(servers, envoy):
    resource = LoadBalancerResource(envoy.url)
    steps = Steps(resource, open_balancer(envoy.url))
    stalled_at, stalled = 15, servers.addresses[4]

    def step(k):
        steps(k)
        if k == stalled_at:
            servers.become(4, mode="stalled")
        return k == stalled_at + 6

    under_load(envoy.port, 250.0, 5000, step, INTERVAL)
    # Measurements 16 and 17 end the two intervals after the stall.
    assert steps.weights[stalled_at + 2][stalled] == 0
    # Envoy takes the file up within milliseconds, so that one more interval leaves no doubt.
    assert steps.started[stalled_at + 6][stalled] == steps.started[stalled_at + 3][stalled]
    resource.release()


def test_a_failing_back_end_is_ejected(servers, envoy):
    resource = LoadBalancerResource(envoy.url)
    failing = servers.addresses[3]

    def step(k):
        resource.measure_state()
        if k == 8:
            servers.become(3, mode="failing")
        return k > 8 and resource.plan[failing].standing is Standing.OUT

    under_load(envoy.port, 250.0, 5000, step, INTERVAL)
    assert resource.plan[failing].standing is Standing.OUT
    assert "failed" in resource.plan[failing].reason
    out = [due for due in resource.plan.values() if due.standing in EJECTED]
    assert resource.get_metrics()["ejected"] == len(out)  # a busy machine may make another look sick
    resource.release()
    assert set(weights(open_balancer(envoy.url)).values()) == {1}


def test_spares_are_added_and_taken_out_again(servers, envoy):
    found = envoy.eds.read_bytes()
    with UnequalServers([50.0]) as more, LoadBalancerResource(envoy.url, spares=more.addresses) as resource:
        resource.apply_control(7)
        assert taken_up(open_balancer(envoy.url), {more.addresses[0]: 1})
        resource.measure_state()
        resource.apply_control(6)
        assert until(lambda: resource.measure_state() and envoy.eds.read_bytes() == found)
        resource.apply_control(7)
    assert envoy.eds.read_bytes() == found


def test_a_weight_changed_by_hand_is_noticed_and_left_alone(servers, envoy, caplog):
    resource = LoadBalancerResource(envoy.url)
    edited = servers.addresses[2]

    def step(k):
        resource.measure_state()
        if k == 6:
            document = json.loads(envoy.eds.read_text())
            # Not a weight that it would be due by itself, or nobody could tell.
            document["resources"][0]["endpoints"][0]["lb_endpoints"][2]["load_balancing_weight"] = 3
            new = envoy.directory / "edited.json"
            new.write_text(json.dumps(document))
            new.replace(envoy.eds)
        return k == 12

    under_load(envoy.port, 250.0, 5000, step, INTERVAL)
    assert resource.foreign == {edited: 3}
    assert "somebody else has changed it" in caplog.text
    resource.release()
    assert weights(open_balancer(envoy.url)) == dict.fromkeys(servers.addresses, 1) | {edited: 3}


@pytest.mark.parametrize("changed", [{"load_balancing_weight": 9}, {"health_status": "DRAINING"}])
def test_a_file_that_envoy_does_not_take_up_is_told(servers, envoy, changed):
    # Envoy watches for files moved into place; this one is written in place, behind its back.
    balancer = open_balancer(envoy.url)
    balancer.read()
    document = json.loads(envoy.eds.read_text())
    document["resources"][0]["endpoints"][0]["lb_endpoints"][0].update(changed)
    envoy.eds.write_text(json.dumps(document))
    for _ in range(3):
        balancer.read()
    with pytest.raises(SensorError, match="has not taken up the endpoints of " + servers.addresses[0]):
        balancer.read()


def test_an_admin_interface_that_is_gone_is_told_and_taken_up_again(servers, envoy):
    resource = LoadBalancerResource(envoy.url)
    resource.measure_state()
    envoy.stop()
    with pytest.raises(SensorError, match="admin interface does not answer"):
        resource.measure_state()
    envoy.start()
    assert resource.measure_state().size == 6
    resource.release()


def test_an_unknown_cluster_is_told(envoy):
    with pytest.raises(SensorError, match=r"no JSON with the endpoints|no cluster of this name"):
        LoadBalancerResource(envoy.url.replace("cluster=app", "cluster=shop"))


def test_a_directory_that_is_gone_leaves_everything_as_it_was(envoy):
    balancer = open_balancer(envoy.url)
    name = next(iter(balancer.read().back_ends))
    away = Path(str(envoy.eds.parent) + ".away")
    envoy.eds.parent.rename(away)
    with pytest.raises(ActuatorError, match="nothing was changed"):
        balancer.write({name: 5})
    away.rename(envoy.eds.parent)
    assert set(weights(balancer).values()) == {1}

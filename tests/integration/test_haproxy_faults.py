"""LoadBalancerResource before a real HAProxy that is gone, forbidden, or in somebody else's hands as well."""

from __future__ import annotations

import socket
import socketserver
import subprocess
import sys
import threading

import pytest
from integration.balanced import under_load, weights

from quantum_control.core.controller import QuantumController
from quantum_control.core.ejection import Standing
from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration

INTERVAL = 0.2

FOUND = dict.fromkeys((f"s{i}" for i in range(6)), 100)


def test_steering_by_a_read_only_socket_fails_and_says_why(haproxy):
    url = f"haproxy+unix://{haproxy.directory}/user.sock?backend=app"
    controller = QuantumController(LoadBalancerResource(url), interval=INTERVAL)
    decisions = []

    def step(_):
        decisions.append(controller.optimize())
        return decisions[-1].outcome == "failed"

    under_load(haproxy.port, 250.0, 5000, step, INTERVAL)
    assert decisions[-1].outcome == "failed"
    assert "level admin" in str(decisions[-1].reasons)
    assert weights(open_balancer(haproxy.url)) == FOUND


MAINTAINED = ("s0", "s1", "s3", "s4", "s5")


def in_maintenance(by_hand):
    """Servers in maintenance by order, as HAProxy says itself."""
    rows = [line.split() for line in by_hand("show servers state app").splitlines()[2:] if line]
    return tuple(row[3] for row in rows if int(row[6]) & 1)


def test_the_last_that_is_healthy_is_never_removed_and_maintenance_by_hand_stays(haproxy, by_hand):
    with LoadBalancerResource(haproxy.url, min_backends=1) as resource:
        for name in MAINTAINED:
            by_hand(f"set server app/{name} state maint")
        resource.measure_state()
        resource.apply_control(1)
        resource.measure_state()
        assert weights(open_balancer(haproxy.url)) == dict.fromkeys(FOUND, 0) | {"s2": 100}
        assert in_maintenance(by_hand) == MAINTAINED
        resource.apply_control(3)
        assert in_maintenance(by_hand) == MAINTAINED
        by_hand("set server app/s0 state ready")  # well again, and with the weight that it was given
        resource.apply_control(1)
        assert in_maintenance(by_hand) == MAINTAINED[1:]
        assert (
            sum(one.up and one.weight > 0 for one in open_balancer(haproxy.url).read().back_ends.values())
            == 1
        )
    assert weights(open_balancer(haproxy.url)) == FOUND
    assert in_maintenance(by_hand) == MAINTAINED[1:]


def test_a_change_of_places_ends_no_maintenance(haproxy, by_hand):
    with LoadBalancerResource(haproxy.url, min_backends=1) as resource:
        resource.apply_control(1)
        (used,) = (name for name, weight in weights(open_balancer(haproxy.url)).items() if weight)
        by_hand(f"set server app/{used} state maint")
        resource.measure_state()
        resource.measure_state()
        reading = open_balancer(haproxy.url).read().back_ends
        assert sum(one.up and one.weight > 0 for one in reading.values()) == 1
        assert in_maintenance(by_hand) == (used,)
    assert in_maintenance(by_hand) == (used,)
    assert weights(open_balancer(haproxy.url)) == FOUND


def test_of_the_number_found_those_that_are_still_there_are_put_back(haproxy, by_hand, caplog):
    with LoadBalancerResource(haproxy.url, min_backends=1) as resource:
        resource.apply_control(2)
        in_force = weights(open_balancer(haproxy.url))
        gone, theirs, *_ = (name for name, weight in in_force.items() if not weight)
        by_hand(f"set server app/{gone} state maint; del server app/{gone}")
        by_hand(f"set server app/{theirs} state ready; set server app/{theirs} weight 7")
        resource.apply_control(6)  # as controller.stop() orders it
        left = {name: weight for name, weight in FOUND.items() if name != gone} | {theirs: 7}
        assert weights(open_balancer(haproxy.url)) == left
        assert "6 back ends were to be in use, as found, and 4 are" in caplog.text
        assert f"{gone} is not there any more" in caplog.text
        assert f"{theirs} is left at the weight 7, which somebody else has set" in caplog.text
    assert weights(open_balancer(haproxy.url)) == left


def test_whichever_stall_the_last_one_stays(servers, haproxy):
    resource = LoadBalancerResource(haproxy.url, max_out=1.0)
    balancer = open_balancer(haproxy.url)
    least = []

    def step(k):
        resource.measure_state()
        if k == 6:
            for i in range(6):
                servers.become(i, mode="stalled")
        reading = balancer.read().back_ends.values()
        least.append(sum(one.up and one.weight > 0 for one in reading))
        return k == 14

    under_load(haproxy.port, 200.0, 5000, step, INTERVAL)
    assert min(least) >= 1
    assert resource.get_metrics()["ejected"] >= 3.0
    resource.release()
    assert weights(balancer) == FOUND


ENDS_BADLY = """
import sys
from quantum_control import LoadBalancerResource

resource = LoadBalancerResource(sys.argv[1], min_backends=1)
resource.apply_control(2)
print(sum(back_end.weight > 0 for back_end in resource._balancer.read().back_ends.values()))
raise RuntimeError("on purpose")
"""


def test_a_process_that_fails_puts_everything_back(haproxy):
    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", ENDS_BADLY, haproxy.url], capture_output=True, text=True, check=False
    )
    assert "on purpose" in ended.stderr
    assert ended.stdout == "2\n"
    assert weights(open_balancer(haproxy.url)) == FOUND


class CuttingRelay(socketserver.BaseRequestHandler):
    """Passes a question on to HAProxy, and of the answer the first `length` bytes."""

    port = 0
    length = 1_000_000

    def handle(self):
        with socket.create_connection(("127.0.0.1", self.port)) as onward:
            onward.sendall(self.request.recv(65536))
            answer = b""
            while chunk := onward.recv(65536):
                answer += chunk
        self.request.sendall(answer[: self.length])


@pytest.fixture
def relay(haproxy):
    handler = type("Relay", (CuttingRelay,), {"port": haproxy.admin_port})
    with socketserver.TCPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        handler.url = f"haproxy+tcp://127.0.0.1:{server.server_address[1]}?backend=app"
        yield handler
        server.shutdown()
        thread.join(10.0)


def test_an_answer_that_is_cut_off_on_its_way_is_told_and_steering_goes_on_afterwards(haproxy, relay):
    with LoadBalancerResource(relay.url, min_backends=1) as resource:
        resource.apply_control(3)
        before = weights(open_balancer(haproxy.url))
        for relay.length in (0, 1, 500, 2000, 3000):
            with pytest.raises(SensorError, match="HAProxy"):
                resource.measure_state()
            with pytest.raises(SensorError, match="HAProxy"):
                resource.apply_control(6)
        assert weights(open_balancer(haproxy.url)) == before
        relay.length = CuttingRelay.length
        assert resource.measure_state().size == 3
        assert resource.foreign == {}
    assert weights(open_balancer(haproxy.url)) == FOUND


def test_a_server_whose_addition_stops_halfway_is_taken_out_again(servers, haproxy, by_hand, monkeypatch):
    balancer = open_balancer(haproxy.url)
    with LoadBalancerResource(balancer=balancer, spares=[servers.addresses[5]]) as resource:
        ordered = balancer._order

        def halfway(lines, allow=()):
            lines = list(lines)
            if any("state drain" in line for line in lines):
                raise ActuatorError("the line was cut")
            ordered(lines, allow)

        monkeypatch.setattr(balancer, "_order", halfway)
        with pytest.raises(ActuatorError, match="cut"):
            resource.apply_control(7)
        monkeypatch.undo()
        assert "qc-127" in by_hand("show servers state app")
        assert resource.measure_state().size == 6
        assert "qc-127" not in by_hand("show servers state app")
        resource.apply_control(7)
    assert weights(open_balancer(haproxy.url)) == FOUND


def test_an_order_that_is_refused_in_the_middle_is_undone(haproxy):
    balancer = open_balancer(haproxy.url)
    balancer.read()
    with pytest.raises(ActuatorError, match=r"No such server.*as they were"):
        balancer.write({"s0": 3, "nobody": 4, "s2": 5})
    assert weights(balancer) == FOUND


def test_a_socket_that_is_gone_is_told_and_a_restart_is_taken_for_one(haproxy, caplog):
    resource = LoadBalancerResource(haproxy.url)
    controller = QuantumController(resource, interval=INTERVAL)

    def step(_):
        controller.optimize()
        return weights(open_balancer(haproxy.url)) != FOUND

    under_load(haproxy.port, 250.0, 5000, step, INTERVAL)
    assert weights(open_balancer(haproxy.url)) != FOUND
    haproxy.stop()
    with pytest.raises(SensorError, match=r"cannot be reached.*Is it running"):
        resource.measure_state()
    assert controller.optimize().outcome == "failed"
    haproxy.start()
    resource.measure_state()
    assert "restarted" in caplog.text
    assert resource.foreign == {}
    resource.release()
    assert weights(open_balancer(haproxy.url)) == FOUND


def test_a_weight_changed_by_hand_is_noticed_left_alone_and_reported(haproxy, by_hand, caplog):
    resource = LoadBalancerResource(haproxy.url)

    def step(k):
        resource.measure_state()
        if k == 6:
            by_hand("set server app/s2 weight 3")
        return k == 12

    under_load(haproxy.port, 250.0, 5000, step, INTERVAL)
    assert resource.foreign == {"s2": 3}
    assert resource.get_metrics()["foreign"] == 1.0
    assert "somebody else has changed it" in caplog.text
    assert weights(open_balancer(haproxy.url))["s2"] == 3
    resource.release()
    assert weights(open_balancer(haproxy.url)) == FOUND | {"s2": 3}


def test_a_server_put_into_maintenance_by_hand_stays_there(haproxy, by_hand):
    resource = LoadBalancerResource(haproxy.url)

    def step(k):
        resource.measure_state()
        if k == 5:
            by_hand("set server app/s4 state maint")
        return k == 12

    answers = under_load(haproxy.port, 200.0, 5000, step, INTERVAL)
    assert {answer.status for answer in answers} == {200}
    # Either it is seen down, or its weight is seen to be another's by now; no share is planned for it.
    assert "s4" not in resource.plan or resource.plan["s4"].standing is Standing.DOWN
    resource.release()
    assert in_maintenance(by_hand) == ("s4",)


def test_an_unknown_backend_is_told(haproxy):
    with pytest.raises(SensorError, match="no backend of this name"):
        LoadBalancerResource(haproxy.url.replace("backend=app", "backend=shop"))

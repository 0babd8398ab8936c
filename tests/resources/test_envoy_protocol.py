"""What Envoy's adapter makes of answers and files that are cut short, odd or forbidden."""

from __future__ import annotations

import base64
import http.server
import json
import threading
from pathlib import Path

import pytest

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.custody import Custody
from quantum_control.resources.envoy import Envoy
from quantum_control.resources.loadbalancer import LoadBalancerResource


def endpoint(port, **more):
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    return {"endpoint": {"address": address}} | more


def document(*endpoints):
    return {"resources": [{"cluster_name": "app", "endpoints": [{"lb_endpoints": list(endpoints)}]}]}


def host(port, weight=1, health=None, **stats):
    return {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "stats": [{"name": name, "value": str(value)} for name, value in stats.items()],
        "health_status": health or {"eds_health_status": "HEALTHY"},
        "weight": weight,
    }


def clusters(*hosts):
    return json.dumps({"cluster_statuses": [{"name": "app", "host_statuses": list(hosts)}]}).encode()


class Admin(http.server.BaseHTTPRequestHandler):
    status = 200
    body = b""
    cut = 0
    asked = ()

    def do_GET(self):
        type(self).asked.append(self.headers.get("Authorization"))
        self.send_response(self.status)
        self.send_header("Content-Length", str(len(self.body)))
        self.end_headers()
        self.wfile.write(self.body[: len(self.body) - self.cut])

    def log_message(self, *_):
        pass


@pytest.fixture
def admin():
    handler = type("Scripted", (Admin,), {"asked": [], "body": clusters(host(1), host(2))})
    server = http.server.HTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    handler.port = server.server_port
    yield handler
    server.shutdown()
    server.server_close()
    thread.join(10.0)


@pytest.fixture
def eds(tmp_path):
    path = tmp_path / "eds.json"
    path.write_text(json.dumps(document(endpoint(1), endpoint(2))))
    return path


@pytest.fixture
def envoy(admin, eds):
    return Envoy(("127.0.0.1", admin.port), "app", str(eds))


def test_a_host_says_what_it_means(admin, envoy, eds):
    eds.write_text(json.dumps(document(endpoint(1, load_balancing_weight=9), endpoint(2))))
    admin.body = clusters(
        host(1, 9, rq_total=10, rq_active=3, rq_error=2, cx_connect_fail=1),
        host(2, health={"failed_active_health_check": True, "eds_health_status": "HEALTHY"}),
    )
    back_ends = envoy.read().back_ends
    one, two = back_ends["127.0.0.1:1"], back_ends["127.0.0.1:2"]
    assert (one.weight, one.started, one.ended, one.failed, one.in_flight) == (9, 10, 7, 3, 3)
    assert one.up
    assert not two.up


DRAINING = {"eds_health_status": "DRAINING"}


@pytest.mark.parametrize(
    ("ordered", "said"),
    [
        ({"health_status": "DRAINING"}, host(1)),
        ({}, host(1, health=DRAINING)),
        ({"load_balancing_weight": 9}, host(1)),
        ({"load_balancing_weight": 9}, host(3)),
    ],
)
def test_what_envoy_does_not_take_up_is_told_a_mere_drain_too(admin, envoy, eds, ordered, said):
    eds.write_text(json.dumps(document(endpoint(1, **ordered), endpoint(2, health_status="UNHEALTHY"))))
    admin.body = clusters(said, host(2, health={"eds_health_status": "UNHEALTHY"}))
    for _ in range(3):
        envoy.read()
    with pytest.raises(SensorError, match=r"has not taken up the endpoints of 127\.0\.0\.1:1\."):
        envoy.read()


def test_a_drain_that_envoy_has_taken_up_is_no_trouble(admin, envoy, eds):
    eds.write_text(json.dumps(document(endpoint(1, health_status="DRAINING"), endpoint(2))))
    admin.body = clusters(host(1, health=DRAINING), host(2))
    for _ in range(10):
        assert envoy.read().back_ends["127.0.0.1:1"].weight == 0


def test_an_answer_cut_short_is_told(admin, envoy):
    admin.cut = 10
    with pytest.raises(SensorError, match="IncompleteRead"):
        envoy.read()


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"{}", b'{"cluster_statuses": [{"name": "app", "host_statuses": [{}]}]}']
)
def test_an_answer_of_another_form_is_told(admin, envoy, body):
    admin.body = body
    with pytest.raises(SensorError, match=r"known to work is 1\.40"):
        envoy.read()


@pytest.mark.parametrize("kept_in", ["environment", "file"])
def test_a_refused_authentication_is_told_without_the_secret(admin, eds, tmp_path, monkeypatch, kept_in):
    monkeypatch.setenv("ENVOY_ADMIN", "admin:hunter2")
    kept = tmp_path / "authorization"
    kept.write_text("admin:hunter2\n")
    way = (
        {"authorization_env": "ENVOY_ADMIN"}
        if kept_in == "environment"
        else {"authorization_file": str(kept)}
    )
    envoy = Envoy(("127.0.0.1", admin.port), "app", str(eds), **way)
    envoy.read()
    assert base64.b64decode(admin.asked[-1].removeprefix("Basic ")) == b"admin:hunter2"
    admin.status = 401
    with pytest.raises(SensorError, match=r"refuses to answer .401.*authorization_env") as told:
        envoy.read()
    assert "hunter2" not in str(told.value)


def test_an_unknown_cluster_is_told_with_those_there_are(admin, envoy):
    admin.body = admin.body.replace(b'"app"', b'"shop"')
    with pytest.raises(SensorError, match="no cluster of this name; it has shop"):
        envoy.read()


@pytest.mark.parametrize("text", ["", "{", "resources: []", '{"resources": []}', '{"resources": [{}]}', "[]"])
def test_a_file_that_cannot_be_understood_is_told_and_left_alone(envoy, eds, text):
    eds.write_text(text)
    with pytest.raises(SensorError, match="no JSON with the endpoints"):
        envoy.read()
    with pytest.raises(ActuatorError, match="nothing was changed"):
        envoy.write({"127.0.0.1:1": 5})
    assert eds.read_text() == text


def test_what_else_the_file_says_is_kept(envoy, eds):
    whole = document(endpoint(1, metadata={"zone": "a"}), endpoint(2, health_status="DEGRADED"))
    whole["version_info"] = "7"
    eds.write_text(json.dumps(whole))
    envoy.read()
    envoy.write({"127.0.0.1:1": 5, "127.0.0.1:2": 0})
    written = json.loads(eds.read_text())
    assert written["version_info"] == "7"
    one, two = written["resources"][0]["endpoints"][0]["lb_endpoints"]
    assert (one["metadata"], one["load_balancing_weight"]) == ({"zone": "a"}, 5)
    assert two["health_status"] == "DRAINING"
    envoy.write({"127.0.0.1:2": 3})
    assert (
        json.loads(eds.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"][1]["health_status"]
        == "DEGRADED"
    )


def test_an_endpoint_that_is_gone_is_told_and_nothing_changes(envoy, eds):
    envoy.read()
    before = eds.read_bytes()
    with pytest.raises(ActuatorError, match=r"no endpoint '127\.0\.0\.1:3' any more"):
        envoy.write({"127.0.0.1:1": 5, "127.0.0.1:3": 5})
    assert eds.read_bytes() == before


def refused(_, target):
    raise PermissionError(13, "Permission denied", str(target))


def test_a_file_that_cannot_be_replaced_stays_and_nothing_is_left_behind(envoy, eds, monkeypatch):
    envoy.read()
    before = eds.read_bytes()
    monkeypatch.setattr(Path, "replace", refused)
    with pytest.raises(ActuatorError, match=r"cannot be replaced.*writable"):
        envoy.write({"127.0.0.1:1": 5})
    assert eds.read_bytes() == before
    assert list(eds.parent.iterdir()) == [eds]


def test_an_endpoint_s_own_health_comes_back_also_at_a_second_try(envoy, eds, monkeypatch):
    eds.write_text(json.dumps(document(endpoint(1, health_status="DEGRADED"), endpoint(2))))
    found = eds.read_text()
    envoy.read_weights()
    envoy.write({"127.0.0.1:1": 0})
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refused)
        with pytest.raises(ActuatorError, match="cannot be replaced"):
            envoy.write({"127.0.0.1:1": 1})
    envoy.write({"127.0.0.1:1": 1})
    assert eds.read_text() == found


@pytest.fixture
def custody(admin, envoy):
    """What holds other weights than were found."""
    custody = Custody(envoy)
    custody.notice(envoy.read())
    custody.order({"127.0.0.1:1": 9, "127.0.0.1:2": 0})
    return custody


def test_weights_larger_than_any_of_ours_are_put_back(envoy, eds):
    eds.write_text(json.dumps(document(endpoint(1, load_balancing_weight=1000), endpoint(2))))
    found = eds.read_text()
    custody = Custody(envoy)
    custody.notice(envoy.read_weights())
    custody.order({"127.0.0.1:1": 256, "127.0.0.1:2": 9})
    custody.give_back()
    assert eds.read_text() == found
    with pytest.raises(ActuatorError, match="below 0"):
        envoy.write({"127.0.0.1:1": 5, "127.0.0.1:2": -1})
    assert eds.read_text() == found


def test_the_file_comes_back_although_envoy_is_down(admin, custody, envoy, eds):
    found = envoy.snapshot()["file"]
    admin.body = b""
    with pytest.raises(SensorError):
        envoy.read()
    custody.give_back()
    assert eds.read_text() == found


def test_the_file_comes_back_although_envoy_has_refused_it(custody, envoy, eds):
    found = envoy.snapshot()["file"]
    for _ in range(3):
        envoy.read()
    with pytest.raises(SensorError, match="has not taken up"):
        envoy.read()
    custody.give_back()
    assert eds.read_text() == found


def test_a_fresh_process_puts_the_file_back_without_envoy(admin, custody, envoy, eds):
    snapshot = envoy.snapshot()
    admin.body = b""
    fresh = Envoy(("127.0.0.1", admin.port), "app", str(eds))
    fresh.recall(snapshot)
    Custody(fresh).put_back({"127.0.0.1:1": 1, "127.0.0.1:2": 1}, [])
    assert eds.read_text() == snapshot["file"]


def test_a_spare_at_an_ipv6_address_is_added_as_envoy_writes_it(envoy, eds):
    envoy.read()
    assert envoy.add("[::1]:80") == "[::1]:80"
    added = json.loads(eds.read_text())["resources"][0]["endpoints"][0]["lb_endpoints"][-1]
    assert added["endpoint"]["address"]["socket_address"] == {"address": "::1", "port_value": 80}
    assert envoy.read().back_ends["[::1]:80"].weight == 0
    envoy.write({"[::1]:80": 5})
    assert envoy.remove("[::1]:80")
    assert "::1" not in eds.read_text()


def test_a_spare_that_is_an_endpoint_already_stays_in_the_file(envoy, eds):
    found = eds.read_bytes()
    resource = LoadBalancerResource(balancer=envoy, spares=["127.0.0.1:2"], min_backends=1)
    kept = resource.snapshot()
    resource.apply_control(1)
    with pytest.raises(ActuatorError, match="1 in use, and 1 kept out or spare"):
        resource.apply_control(3)
    resource.release()
    assert eds.read_bytes() == found
    LoadBalancerResource(balancer=envoy, min_backends=1).restore(kept)
    assert eds.read_bytes() == found

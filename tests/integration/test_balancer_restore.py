"""Balancers whose controller was killed, put back by a fresh one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest
from integration.balanced import until, weights

from quantum_control.core.journal import Journal
from quantum_control.core.recovery import Fate, recover
from quantum_control.daemon.originals import build
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration

SPARE = "127.0.0.1:9"  # nobody listens there, and nothing is sent

KILLED = """
import json, os, signal, sys
from quantum_control import LoadBalancerResource

url, spare = sys.argv[1:]
resource = LoadBalancerResource(url, min_backends=2, spares=[spare])
print(json.dumps(resource.snapshot()), flush=True)
resource.apply_control(7)
resource.apply_control(3)
members = resource._roster.members()
resource._custody.order({members[0]: 17, members[1]: 233})
os.kill(os.getpid(), signal.SIGKILL)
"""


def killed(url):
    """Snapshot of a process that was killed after it had changed all that it can change."""
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", KILLED, url, SPARE], capture_output=True, text=True, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    return json.loads(done.stdout)


def put_back(url, snapshot):
    fresh = LoadBalancerResource(url, min_backends=2, max_backends=7, spares=[SPARE])
    assert fresh.get_metrics() == {}
    fresh.restore(snapshot)
    assert fresh.measure_state().size == 6
    assert fresh.foreign == {}
    fresh.release()  # finds nothing to do


def test_haproxy_has_its_weights_and_servers_back(haproxy, by_hand):
    by_hand("set weight app/s5 44")
    found, states = weights(open_balancer(haproxy.url)), by_hand("show servers state app")
    snapshot = killed(haproxy.url)
    left = weights(open_balancer(haproxy.url))
    assert {17, 233, 0} < set(left.values())
    assert len(left) == 7
    put_back(haproxy.url, snapshot)
    assert weights(open_balancer(haproxy.url)) == found
    columns = [line.split()[3:10] for line in states.splitlines()[2:]]
    now = [line.split()[3:10] for line in by_hand("show servers state app").splitlines()[2:]]
    assert [row[:5] for row in now] == [row[:5] for row in columns]


KILLED_LATER = """
import os, signal, sys
from quantum_control import LoadBalancerResource
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled

url, path = sys.argv[1:]
resource = LoadBalancerResource(url)
steered = Journalled(resource, Journal(path), "web", "loadbalancer", {"url": url})
steered.measure_state()
print("begun", flush=True)
sys.stdin.readline()
for _ in range(2):
    steered.measure_state()
resource._custody.order({"s6": 17})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_haproxy_has_a_server_back_as_found_that_somebody_has_added_later(haproxy, by_hand, tmp_path):
    path = tmp_path / "journal.db"
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", KILLED_LATER, haproxy.url, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as steered:
        assert steered.stdout.readline() == "begun\n"
        by_hand(f"add server app/s6 {SPARE} weight 50; set server app/s6 state ready")
        found = weights(open_balancer(haproxy.url))
        assert found["s6"] == 50
        steered.communicate("go on\n")
    assert steered.returncode == -signal.SIGKILL
    assert weights(open_balancer(haproxy.url))["s6"] == 17
    journal = Journal(path)
    (original,) = journal.originals()
    outcome = recover(journal, original, build)
    journal.close()
    assert outcome.fate is Fate.RESTORED, outcome
    assert weights(open_balancer(haproxy.url)) == found


def test_envoy_has_its_endpoint_file_back_to_the_byte(envoy):
    document = json.loads(envoy.eds.read_text())
    endpoints = document["resources"][0]["endpoints"][0]["lb_endpoints"]
    endpoints[1]["health_status"] = "HEALTHY"
    endpoints[2]["load_balancing_weight"] = 1
    written = envoy.directory / "written.json"
    written.write_text(json.dumps(document, indent=3))
    written.replace(envoy.eds)
    found = envoy.eds.read_bytes()
    assert until(lambda: set(weights(open_balancer(envoy.url)).values()) == {1})
    snapshot = killed(envoy.url)
    assert envoy.eds.read_bytes() != found
    put_back(envoy.url, snapshot)
    assert envoy.eds.read_bytes() == found
    assert os.listdir(envoy.eds.parent) == [envoy.eds.name]  # noqa: PTH208 - names

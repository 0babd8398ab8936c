"""LoadBalancerResource before a real nginx, by its configuration and a reload."""

from __future__ import annotations

import shutil

import pytest
from integration.balanced import under_load, weights
from integration.requirements import require

from quantum_control.bench.balancers import LocalBalancer
from quantum_control.core.errors import ActuatorError
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.loadbalancer import LoadBalancerResource

pytestmark = pytest.mark.integration


class LocalNginx(LocalBalancer):
    @staticmethod
    def executable():
        return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")

    @property
    def url(self):
        return f"nginx+file://{self.directory}/app.upstream?log={self.directory}/app.log&pid={self.directory}/pid"

    def _answers_admin(self):
        return (self.directory / "pid").exists()

    def _configure(self, servers, policy):
        (self.directory / "app.upstream").write_text(
            "# the servers of app\n" + "".join(f"server {address} max_fails=0;\n" for address in servers)
        )
        (self.directory / "nginx.conf").write_text(f"""\
pid {self.directory}/pid;
error_log {self.directory}/error.log;
worker_processes 1;
daemon off;
events {{ worker_connections 500; }}
http {{
  log_format quantum_control '$upstream_addr|$upstream_status|$upstream_response_time';
  access_log {self.directory}/app.log quantum_control;
  client_body_temp_path {self.directory}/body; proxy_temp_path {self.directory}/proxy;
  fastcgi_temp_path {self.directory}/f; uwsgi_temp_path {self.directory}/u; scgi_temp_path {self.directory}/s;
  upstream app {{ {policy} include {self.directory}/app.upstream; }}
  server {{
    listen 127.0.0.1:{self.port};
    # What still is connected to workers of before a reload is not to be cut off.
    keepalive_timeout 0;
    location / {{ proxy_pass http://app; proxy_next_upstream off; }}
  }}
}}
""")
        return [self.executable(), "-p", str(self.directory), "-c", str(self.directory / "nginx.conf")]


@pytest.fixture
def nginx(servers):
    require(LocalNginx.executable(), "nginx is not installed; scripts/install-servers installs it")
    with LocalNginx(servers.addresses, "least_conn;") as nginx:
        yield nginx


def test_weights_follow_the_speeds_without_losing_a_request(servers, nginx):
    found = (nginx.directory / "app.upstream").read_text()
    with LoadBalancerResource(nginx.url) as resource:

        def steered():
            found = weights(open_balancer(nginx.url))
            return found[servers.addresses[5]] > 2 * found[servers.addresses[0]]

        def step(k):
            resource.measure_state()
            return k >= 9 and steered()

        answers = under_load(nginx.port, 250.0, 9000, step, 0.3)
        assert resource.get_metrics()["orders"] > 0
        assert steered()
    assert (nginx.directory / "app.upstream").read_text() == found
    assert {answer.status for answer in answers} == {200}


def test_a_server_that_is_down_gets_nothing(servers, nginx):
    balancer = open_balancer(nginx.url)
    balancer.read()
    balancer.write(dict.fromkeys(servers.addresses[:5], 0))
    counts = []

    def step(k):
        counts.append({name: one.ended for name, one in balancer.read().back_ends.items()})
        return False

    # The reload is under way for a moment; what comes after the first step is after it.
    under_load(nginx.port, 60.0, 90, step, 0.5)
    assert sum(counts[-1][address] - counts[0][address] for address in servers.addresses[:5]) == 0
    assert counts[-1][servers.addresses[5]] > counts[0][servers.addresses[5]]


def test_a_pid_file_that_is_gone_leaves_the_file_as_it_was(servers, nginx):
    balancer = open_balancer(nginx.url)
    found = (nginx.directory / "app.upstream").read_text()
    (nginx.directory / "pid").rename(nginx.directory / "pid.away")
    with pytest.raises(ActuatorError, match="cannot be told to reload"):
        balancer.write({servers.addresses[0]: 5})
    assert (nginx.directory / "app.upstream").read_text() == found


def test_a_weight_changed_by_hand_is_respected_and_reported(servers, nginx, caplog):
    file = nginx.directory / "app.upstream"
    one = servers.addresses[2]
    with LoadBalancerResource(nginx.url) as resource:

        def step(k):
            resource.measure_state()
            if k == 1:  # nothing is ordered yet
                text = file.read_text()
                assert f"server {one} max_fails=0;" in text
                file.write_text(text.replace(f"server {one} ", f"server {one} weight=3 "))
            return k >= 8 and resource.get_metrics()["orders"] >= 2

        answers = under_load(nginx.port, 250.0, 9000, step, 0.3)
        assert weights(open_balancer(nginx.url))[one] == 3
        assert resource.foreign == {one: 3}
        assert resource.get_metrics()["foreign"] == 1.0
        assert resource.get_metrics()["orders"] >= 2  # the others are steered on
        assert caplog.text.count("somebody else has changed it") == 1
    left = weights(open_balancer(nginx.url))
    assert left.pop(one) == 3
    assert set(left.values()) == {1}
    assert {answer.status for answer in answers} == {200}

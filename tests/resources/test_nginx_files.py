"""nginx's adapter: the file with the servers, and the log."""

from __future__ import annotations

import os
import signal

import pytest

from quantum_control.core.errors import ActuatorError, ConfigError, SensorError
from quantum_control.resources import nginx as module
from quantum_control.resources.loadbalancer import LoadBalancerResource
from quantum_control.resources.nginx import Nginx

SERVERS = """\
# by hand
server 10.0.0.1:80;
    server 10.0.0.2:80 weight=5 max_fails=2;  # the big one
server 10.0.0.3:80 down weight=3;
server 10.0.0.4:80 backup;
"""


def process(place, pid, command):
    (place / "proc" / str(pid)).mkdir(parents=True)
    (place / "proc" / str(pid) / "cmdline").write_bytes(command)


def adapter(place, **more):
    paths = (str(place / name) for name in ("app.upstream", "log", "pid"))
    return Nginx(*paths, proc=place / "proc", **more)


@pytest.fixture
def place(tmp_path):
    (tmp_path / "app.upstream").write_text(SERVERS)
    (tmp_path / "log").write_text("10.0.0.1:80|200|0.500\n")
    (tmp_path / "pid").write_text("1234\n")
    process(tmp_path, 1234, b"nginx: master process /usr/sbin/nginx -g daemon off;\0")
    return tmp_path


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def nginx(place, now):
    return adapter(place, clock=lambda: now[0])


@pytest.fixture
def signals(monkeypatch):
    sent = []
    monkeypatch.setattr(os, "kill", lambda pid, number: sent.append((pid, number)))
    return sent


def append(place, text):
    with (place / "log").open("a") as log:
        log.write(text)


def test_lines_say_what_they_mean(nginx):
    back_ends = nginx.read().back_ends
    assert {name: one.weight for name, one in back_ends.items()} == {
        "10.0.0.1:80": 1,
        "10.0.0.2:80": 5,
        "10.0.0.3:80": 0,
        "10.0.0.4:80": 1,
    }
    assert back_ends["10.0.0.4:80"].spare


def test_weights_are_written_and_everything_else_kept(nginx, place, signals):
    nginx.write({"10.0.0.1:80": 7, "10.0.0.2:80": 0, "10.0.0.3:80": 4})
    assert (
        (place / "app.upstream").read_text()
        == """\
# by hand
server 10.0.0.1:80 weight=7;
    server 10.0.0.2:80 weight=5 max_fails=2 down;  # the big one
server 10.0.0.3:80 weight=4;
server 10.0.0.4:80 backup;
"""
    )
    assert signals == [(1234, signal.SIGHUP)]
    nginx.write({"10.0.0.1:80": 1, "10.0.0.2:80": 5})
    assert "server 10.0.0.1:80;" in (place / "app.upstream").read_text()


def test_weights_larger_than_any_of_ours_are_put_back(nginx, place, signals):
    upstream = place / "app.upstream"
    upstream.write_text(SERVERS.replace("weight=5", "weight=1000"))
    found = upstream.read_text()
    nginx.read()
    nginx.write({"10.0.0.2:80": 256})
    nginx.write({"10.0.0.2:80": 1000})
    assert upstream.read_text() == found
    with pytest.raises(ActuatorError, match="below 0"):
        nginx.write({"10.0.0.1:80": 5, "10.0.0.2:80": -1})
    assert upstream.read_text() == found


def test_the_log_is_counted_from_the_first_reading_on(nginx, place, now):
    assert nginx.read().back_ends["10.0.0.1:80"].ended == 0
    append(place, "10.0.0.1:80|200|0.500\n10.0.0.2:80, 10.0.0.1:80|502, 200|0.250, 0.750\n10.0.0.1:80|20")
    now[0] = 2.0
    back_ends = nginx.read().back_ends
    one, two = back_ends["10.0.0.1:80"], back_ends["10.0.0.2:80"]
    assert (one.ended, one.failed) == (2, 0)
    assert one.in_flight == pytest.approx(1.25 / 2.0)
    assert (two.ended, two.failed) == (1, 1)
    append(place, "0|0.100\n")
    assert nginx.read().back_ends["10.0.0.1:80"].ended == 3


def test_a_request_that_was_redirected_to_another_upstream_counts_for_both(nginx, place):
    nginx.read()
    append(place, "10.0.0.1:80, 10.0.0.2:80 : 10.9.9.9:80|502, 404 : 200|0.100, 0.200 : 0.300\n")
    append(place, "10.0.0.1:80|200|0.100\n")
    back_ends = nginx.read().back_ends
    one, two = back_ends["10.0.0.1:80"], back_ends["10.0.0.2:80"]
    assert (one.ended, one.failed, two.ended, two.failed) == (2, 1, 1, 0)


@pytest.mark.parametrize("most", range(45, 68))
def test_of_a_log_that_has_gained_too_much_the_last_lines_are_read_whole(nginx, place, monkeypatch, most):
    nginx.read()
    append(place, "10.0.0.1:80|200|0.100\n" * 5)
    monkeypatch.setattr(module, "MOST_READ", most)
    one = nginx.read().back_ends["10.0.0.1:80"]
    assert one.ended in (2, 3)
    append(place, "10.0.0.1:80|200|0.100\n")
    assert nginx.read().back_ends["10.0.0.1:80"].ended == one.ended + 1


def test_a_server_is_found_in_the_log_by_its_address(nginx, place):
    servers = {"10.0.0.1": "10.0.0.1:80", "[::1]": "[::1]:80", "[::1]:81": "[::1]:81", "unix:/a": "unix:/a"}
    (place / "app.upstream").write_text("".join(f"server {name};\n" for name in servers))
    nginx.read()
    for logged in servers.values():
        append(place, f"{logged}|200|0.100\n")
    assert {name: one.ended for name, one in nginx.read().back_ends.items()} == dict.fromkeys(servers, 1)


def test_a_server_given_by_name_is_told_since_the_log_has_none(nginx, place):
    (place / "app.upstream").write_text("server 10.0.0.1:80;\nserver app.internal:80;\n")
    with pytest.raises(SensorError, match=r"server app\.internal:80 is no address"):
        nginx.read()


def test_a_rotated_log_is_read_from_its_beginning(nginx, place):
    nginx.read()
    (place / "log").rename(place / "log.1")
    (place / "log").write_text("10.0.0.1:80|200|0.100\n")
    assert nginx.read().back_ends["10.0.0.1:80"].ended == 1


def test_a_log_of_another_format_is_told(nginx, place):
    nginx.read()
    for line in ('127.0.0.1 - - [25/Nov/2026] "GET / HTTP/1.1" 200 2', "10.0.0.1:80|200|fast"):
        append(place, line + "\n")
        with pytest.raises(SensorError, match="is not in the format"):
            nginx.read()


def test_what_is_missing_is_told(nginx, place):
    (place / "log").unlink()
    with pytest.raises(SensorError, match="access log cannot be read"):
        nginx.read()
    (place / "app.upstream").write_text("# nothing\n")
    (place / "log").write_text("")
    with pytest.raises(SensorError, match="no `server` line"):
        nginx.read()
    with pytest.raises(ActuatorError, match=r"no server 10\.0\.0\.1:80 any more"):
        nginx.write({"10.0.0.1:80": 5})


@pytest.mark.parametrize("pid", ["", "no number", "999999999", "77", "78", "0", "-1"])
def test_a_master_that_cannot_be_told_leaves_the_file_as_it_was(nginx, place, pid, signals):
    process(place, 77, b"/usr/bin/postgres\0-D\0/var/lib\0")  # what a stale pid file may lead to
    process(place, 78, b"nginx: worker process\0")
    (place / "pid").write_text(pid)
    with pytest.raises(ActuatorError, match="cannot be told to reload"):
        nginx.write({"10.0.0.1:80": 5})
    assert (place / "app.upstream").read_text() == SERVERS
    assert signals == []


def test_the_file_comes_back_to_the_byte_also_from_a_fresh_process(place, signals):
    upstream = place / "app.upstream"
    upstream.write_bytes(b"# first\r\nserver 10.0.0.1 weight=1 max_fails=0;\nserver [::1]:81;\n")
    found = upstream.read_bytes()

    def process():
        nginx = adapter(place)
        nginx.read()
        return nginx

    gone = process()
    snapshot = gone.snapshot()
    gone.write({"10.0.0.1": 7, "[::1]:81": 0})
    gone.write({"10.0.0.1": 1, "[::1]:81": 1})
    assert upstream.read_bytes() == found
    gone.write({"10.0.0.1": 7, "[::1]:81": 0})
    fresh = process()
    fresh.recall(snapshot)
    fresh.write({"10.0.0.1": 1, "[::1]:81": 1})
    assert upstream.read_bytes() == found
    assert len(signals) == 4


def test_spares_are_refused_before_anything_is_read(place, nginx):
    (place / "app.upstream").unlink()
    with pytest.raises(
        ConfigError, match=r"Nginx\(.*\) cannot add back ends while it runs: leave out spares="
    ):
        LoadBalancerResource(balancer=nginx, spares=["10.0.0.9:80"])


def test_a_weight_changed_by_hand_is_respected_and_reported(place, nginx, now, signals, caplog):
    resource = LoadBalancerResource(balancer=nginx, clock=lambda: now[0])
    resource.measure_state()
    file = place / "app.upstream"
    file.write_text(file.read_text().replace("10.0.0.2:80 weight=5", "10.0.0.2:80 weight=77"))
    now[0] += 1.0
    resource.measure_state()
    assert resource.foreign == {"10.0.0.2:80": 77, "10.0.0.3:80": 0, "10.0.0.4:80": 0}
    assert "the weight of 10.0.0.2:80 is 77, not 5 as ordered: somebody else has changed it" in caplog.text
    resource.release()
    assert "10.0.0.2:80 weight=77" in file.read_text()


def test_weights_come_back_although_the_log_is_gone(place, nginx, now, signals):
    resource = LoadBalancerResource(balancer=nginx, clock=lambda: now[0], min_backends=1)
    resource.apply_control(1)
    assert (place / "app.upstream").read_text() != SERVERS
    (place / "log").unlink()
    resource.release()
    assert (place / "app.upstream").read_text() == SERVERS

"""The HTTP server that the tasks wait for, and the tasks themselves."""

import os
import select
import socket
import subprocess
import sys
from http.client import HTTPConnection, HTTPException

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.demo.server import LARGEST_HEAD, LocalServer
from quantum_control.demo.work import Work


@pytest.fixture(scope="module")
def server():
    """Give a running server."""
    with LocalServer() as running:
        yield running


def status_of(server, path):
    """Ask for `path`."""
    connection = HTTPConnection("127.0.0.1", server.port, timeout=60)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        response.read()
        return response.status
    finally:
        connection.close()


def test_it_answers_a_request_for_a_wait(server):
    assert status_of(server, "/0.001") == 200


@pytest.mark.parametrize("path", ["/", "/never", "/-1", "/1e9", "/nan"])
def test_what_it_cannot_wait_for_it_refuses(server, path):
    assert status_of(server, path) == 400


def test_a_head_without_end_is_refused(server):
    with socket.create_connection(("127.0.0.1", server.port), timeout=60) as connection:
        connection.sendall(b"x" * (LARGEST_HEAD + 1))
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_it_listens_on_loopback_only(server):
    with socket.socket() as other:
        other.bind(("127.0.0.2", server.port))  # free: the server has not taken all addresses


def test_it_ends_with_the_block_that_it_serves():
    with LocalServer() as running:
        pass
    with pytest.raises(ConnectionRefusedError):
        status_of(running, "/0.001")


def test_it_ends_when_the_demonstration_is_killed():
    script = (
        "from quantum_control.demo.server import LocalServer\n"
        "server = LocalServer()\n"
        "print(server._process.pid, flush=True)\n"
        "input()"
    )
    demonstration = subprocess.Popen(  # noqa: S603 - ours
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with demonstration:
        ended = os.pidfd_open(int(demonstration.stdout.readline()))
        demonstration.kill()
    try:
        assert select.select([ended], [], [], 60.0)[0], "the server outlived what it was started for"
    finally:
        os.close(ended)


def test_tasks_of_both_kinds_are_measured_before_the_arms_begin(server):
    with Work(server.port) as work:
        calibration = work.calibrate()
    assert calibration.overhead > 0.0
    assert calibration.cpu_seconds > 0.0


def test_an_answer_that_is_an_error_fails_the_task(server):
    with Work(server.port) as work, pytest.raises(HTTPException, match="answered 400"):
        work.run(5.0)


def test_without_a_server_the_calibration_says_so():
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with Work(unused.getsockname()[1]) as work, pytest.raises(SensorError, match="does not answer"):
            work.calibrate()

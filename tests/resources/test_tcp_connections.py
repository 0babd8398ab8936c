"""The kernel's table of TCP connections."""

import errno
import os
import socket
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from integration.requirements import require

from quantum_control.core.errors import SensorError
from quantum_control.resources import tcp_connections
from quantum_control.resources.tcp_connections import connections


@pytest.fixture
def pair():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
        with client, server:
            yield client, server


def difference(before, after):
    return [one for one in after if one.cookie not in {each.cookie for each in before}]


def test_both_ends_of_a_connection_are_counted_as_they_carry_data(pair):
    client, server = pair
    client.sendall(b"x" * 12_345)
    server.recv(12_345, socket.MSG_WAITALL)
    server.sendall(b"y")  # its acknowledgement brings that of the others
    client.recv(1)
    ours = connections()
    sender = next(one for one in ours if one.sent == 12_345 + 1)  # the opening counts as a byte
    receiver = next(one for one in ours if one.received == 12_345)
    assert sender.send_buffer == client.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
    assert receiver.receive_buffer == server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert 0.0 < sender.least_round_trip <= sender.round_trip < 10.0
    assert 0 < receiver.window <= receiver.receive_buffer


def test_what_waits_to_be_sent_is_counted_with_what_it_takes_in_memory(pair):
    client, _ = pair
    client.setblocking(False)
    before = {one.cookie: one.send_queued for one in connections()}
    with suppress(BlockingIOError):
        while client.send(b"x" * 65_536):
            pass
    waiting = [one for one in connections() if one.send_queued > before.get(one.cookie, 0) + 100_000]
    assert len(waiting) == 1
    assert waiting[0].send_held > waiting[0].send_queued / 2


def test_connections_of_ipv6_are_there_too():
    require(Path("/proc/net/if_inet6").exists() and Path("/proc/net/if_inet6").read_text(), "IPv6 at ::1")
    before = connections()
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as listener,
        socket.create_connection(listener.getsockname()[:2]),
        listener.accept()[0],
    ):
        assert len(difference(before, connections())) >= 2


class Kernel:
    """Answers every question with one message."""

    def __init__(self, kind, content):
        self._answer = struct.pack("=IHHII", 16 + len(content), kind, 0, 0, 0) + content

    def __call__(self, *_):
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def settimeout(self, seconds):
        pass

    def send(self, question):
        pass

    def recv(self, size):
        return self._answer


def ask(monkeypatch, kind, content):
    monkeypatch.setattr(tcp_connections.socket, "socket", Kernel(kind, content))
    return connections()


def test_a_kernel_that_refuses_is_told_with_its_reason(monkeypatch):
    with pytest.raises(SensorError, match=os.strerror(errno.EPERM)):
        ask(monkeypatch, tcp_connections.NLMSG_ERROR, struct.pack("=i", -errno.EPERM))


def test_an_address_family_that_is_not_built_in_has_no_connections(monkeypatch):
    assert ask(monkeypatch, tcp_connections.NLMSG_ERROR, struct.pack("=i", -errno.ENOENT)) == []


def test_a_kernel_without_sock_diag_is_told(monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPROTONOSUPPORT, "Protocol not supported")

    monkeypatch.setattr(tcp_connections.socket, "socket", refuse)
    with pytest.raises(SensorError, match="tcp_diag may have to be loaded"):
        connections()

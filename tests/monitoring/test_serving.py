"""The server of the pages, apart from what is on them."""

import errno
import socket
import threading
import urllib.request
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import urlsplit

import pytest
from forked import in_child

from quantum_control.monitoring import listener
from quantum_control.monitoring.serving import Answer, PageServer


def serving_threads():
    return [thread for thread in threading.enumerate() if thread.name == "quantum_control pages"]


def awakenings(thread):
    """How often a thread has gone to sleep, and so been woken up."""
    status = Path(f"/proc/self/task/{thread.native_id}/status").read_text()
    return int(status.partition("voluntary_ctxt_switches:")[2].split()[0])


@pytest.fixture
def server():
    """Give a server on loopback with one page."""
    server = PageServer("127.0.0.1", 0)
    server.add("/", lambda _: Answer(b"here"))
    server.start()
    yield server
    server.close()


def asked(server):
    with urllib.request.urlopen(server.url) as answer:  # noqa: S310 - our own
        return answer.read()


def test_it_answers_again_and_again(server):
    assert [asked(server) for _ in range(3)] == [b"here"] * 3


def test_it_sleeps_while_nobody_asks(server):
    assert asked(server) == b"here"
    (thread,) = serving_threads()
    before = awakenings(thread)
    threading.Event().wait(0.7)
    assert awakenings(thread) - before <= 1  # the one in which it went back to sleep


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0", "::1", "localhost"])  # noqa: S104
def test_the_end_need_not_wait_for_anybody_to_ask(address):
    server = PageServer(address, 0)
    server.start()
    server.close()
    assert not serving_threads()


@pytest.fixture
def small(monkeypatch):
    """Give a server that has room for three."""
    monkeypatch.setattr(listener, "MOST_CONNECTIONS", 3)
    server = PageServer("127.0.0.1", 0)
    server.add("/", lambda _: Answer(b"here"))
    server.start()
    yield server
    server.close()


def connected(server):
    """A connection that says nothing."""
    connection = socket.create_connection(("127.0.0.1", urlsplit(server.url).port))
    connection.settimeout(30.0)
    return connection


def test_who_comes_when_there_is_no_room_is_turned_away_and_room_comes_back(small):
    idle = [connected(small) for _ in range(3)]
    with connected(small) as one_more:
        assert one_more.recv(1) == b""
    for each in idle:
        each.close()
    while True:
        try:
            assert asked(small) == b"here"
        except OSError:  # the server has not seen yet that the others are gone
            continue
        break


def test_a_connection_that_cannot_be_taken_does_not_make_it_spin(server, monkeypatch):
    tries = []
    taken = server._server.socket

    class Full:
        """No descriptor is left, as the first tries are told."""

        def accept(self):
            if len(tries) < 3:
                tries.append(None)
                raise OSError(errno.EMFILE, "Too many open files")
            return taken.accept()

        def __getattr__(self, name):
            return getattr(taken, name)

    slept = []
    monkeypatch.setattr(listener, "time", SimpleNamespace(sleep=slept.append))
    server._server.socket = Full()
    assert asked(server) == b"here"
    assert slept == [listener.PAUSE_SECONDS] * 3


def test_it_ends_without_having_been_started():
    PageServer("127.0.0.1", 0).close()
    assert not serving_threads()


def test_a_forked_child_leaves_the_port_to_its_parent(server):
    def child():
        assert server._server.fileno() == -1
        server.close()

    assert in_child(child) == 0
    assert asked(server) == b"here"

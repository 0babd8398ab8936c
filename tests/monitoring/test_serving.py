"""The server of the pages, apart from what is on them."""

import threading
import urllib.request
from pathlib import Path

import pytest

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


def test_it_ends_without_having_been_started():
    PageServer("127.0.0.1", 0).close()
    assert not serving_threads()

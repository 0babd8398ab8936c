"""Connections of listening sockets, in tables of the kernel and in the kernel itself."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from quantum_control.resources.accept_queue import Connections, connections, overflows

NET = Path("/proc/self/net")

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000:1F40 00000000:0000 0A 00000000:00000003 00:00000000 00000000     0        0 11 1
   1: 0100007F:1F41 00000000:0000 0A 00000000:00000001 00:00000000 00000000     0        0 12 1
   2: 0100007F:1F42 00000000:0000 0A 00000000:00000007 00:00000000 00000000     0        0 99 1
   3: 0200007F:1F40 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 21 1
   4: 0200007F:1F41 0100007F:9999 01 00000000:00000000 00:00000000 00000000     0        0 22 1
   5: 0100007F:1F41 0100007F:9999 08 00000000:00000000 00:00000000 00000000     0        0 23 1
   6: 0100007F:1F40 0100007F:9998 01 00000000:00000050 00:00000000 00000000     0        0 0 1
   7: 0100007F:AAAA 0100007F:1538 01 00000000:00000000 00:00000000 00000000     0        0 24 1
"""


@pytest.fixture
def net(tmp_path):
    (tmp_path / "tcp").write_text(TCP)
    return tmp_path


def test_those_of_a_port_and_of_no_other_nor_the_outgoing_ones(net):
    # 22 is of 127.0.0.2, where nobody asked for listens at this port; 24 leads to another server.
    assert connections(net, {11, 12, 21, 22, 23, 24}) == Connections(2, 4, frozenset({21, 23}))


def test_a_name_of_several_words_is_no_other_that_begins_like_it(net):
    rows = [
        "00010000 0001 01 31 /run/our app",
        "00010000 0001 01 32 /run/our shop",
        "00000000 0001 02 0 /run/our app",
        "00000000 0001 02 0 /run/our shop",
        "00000000 0001 03 41 /run/our app",
        "00000000 0001 03 42 /run/our shop",
        "00000000 0001 03 43",
    ]
    heading = "Num RefCount Protocol Flags Type St Inode Path\n"
    (net / "unix").write_text(heading + "".join(f"0: 00000002 00000000 {row}\n" for row in rows))
    assert connections(net, {31, 41, 42, 43}) == Connections(1, 1, frozenset({41}))


def test_a_name_with_a_line_break_disturbs_nobody(net, tmp_path):
    with (net / "unix").open("w") as unix:
        unix.write("Num RefCount Protocol Flags Type St Inode Path\n")
        unix.write("0: 00000002 00000000 00000000 0001 01 30 @what\never comes into any body's mind to do\n")
        unix.write("0: 00000002 00000000 00010000 0001 01 31 /run/app\n")
    assert connections(net, {31}) == Connections(1, 0, frozenset())


def test_those_of_nobody_are_none(net):
    assert connections(net, {21}) == Connections(0, 0, frozenset())
    assert connections(net / "nowhere", {11}) == Connections(0, 0, frozenset())


def inode(sock):
    return os.fstat(sock.fileno()).st_ino


@pytest.mark.parametrize("family", ["tcp", "tcp6", "unix"])
def test_the_kernel_tells_what_waits_and_what_was_accepted(tmp_path, family):
    kinds = {"tcp": socket.AF_INET, "tcp6": socket.AF_INET6, "unix": socket.AF_UNIX}
    places = {"tcp": ("127.0.0.1", 0), "tcp6": ("::1", 0), "unix": str(tmp_path / "socket")}
    with socket.socket(kinds[family]) as listener:
        try:
            listener.bind(places[family])
        except OSError:
            pytest.skip(f"no {family} here")
        listener.listen(16)
        assert connections(NET, {inode(listener)}) == Connections(1, 0, frozenset())
        clients = []
        for _ in range(5):
            clients.append(socket.socket(kinds[family]))
            clients[-1].connect(listener.getsockname())
        taken = [listener.accept()[0] for _ in range(2)]
        ours = {inode(each) for each in (listener, *clients, *taken)}
        assert connections(NET, ours) == Connections(1, 3, frozenset(map(inode, taken)))
        for each in (*clients, *taken):
            each.close()
        assert connections(NET, ours).accepted == frozenset()


def test_connections_that_find_a_queue_full_are_counted():
    before = overflows(NET)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        clients = [socket.socket() for _ in range(4)]
        for each in clients:
            each.setblocking(False)
            each.connect_ex(listener.getsockname())
        assert connections(NET, {inode(listener)}).waiting == 1
        for each in clients:
            each.close()
    assert overflows(NET) > before

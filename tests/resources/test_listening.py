"""What /proc says of programs that listen."""

from __future__ import annotations

import pytest

from quantum_control.resources import find_connections, find_loadbalancer
from quantum_control.resources.balancer import open_balancer
from quantum_control.resources.listening import Place, listeners

TCP = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1920 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid}        0 11 1
   1: 00000000:1538 00000000:0000 0A 00000000:00000000 00:00000000 00000000  {uid}        0 12 1
   2: 0100007F:1920 0100007F:9999 01 00000000:00000000 00:00000000 00000000  {uid}        0 13 1
   3: 0100007F:2328 00000000:0000 0A 00000000:00000000 00:00000000 00000000  4242        0 14 1
"""
TCP6 = """\
  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000001000000:18EB 00000000000000000000000000000000:0000 0A 0:0 00:0 0 {uid} 0 15 1
"""


@pytest.fixture
def proc(tmp_path):
    (tmp_path / "net").mkdir()
    uid = tmp_path.stat().st_uid
    (tmp_path / "net" / "tcp").write_text(TCP.format(uid=uid))
    (tmp_path / "net" / "tcp6").write_text(TCP6.format(uid=uid))
    (tmp_path / "net" / "unix").write_text(
        "Num RefCount Protocol Flags Type St Inode Path\n"
        "0000: 00000002 00000000 00010000 0001 01 16 /run/postgresql/.s.PGSQL.5433\n"
        "0000: 00000002 00000000 00000000 0001 01 17 /run/connected\n"
    )
    return tmp_path


def process(proc, pid, comm, command, inodes=None):
    home = proc / str(pid)
    home.mkdir()
    (home / "comm").write_text(comm + "\n")
    (home / "cmdline").write_bytes(command.replace(" ", "\0").encode() + b"\0")
    if inodes is not None:
        (home / "fd").mkdir()
        for number, inode in enumerate(inodes):
            (home / "fd" / str(number)).symlink_to(f"socket:[{inode}]")


def test_a_process_has_the_places_of_its_sockets_that_take_connections(proc):
    process(proc, 7, "redis-server", "redis-server", [11, 13, 15, 16, 17, 99])
    (one,) = listeners("redis-server", proc)
    assert one.known
    assert set(one.places) == {
        Place(host="127.0.0.1", port=6432),
        Place(host="::1", port=6379),
        Place(path="/run/postgresql/.s.PGSQL.5433"),
    }


def test_a_program_whose_name_was_cut_in_a_letter_hides_no_other(proc):
    process(proc, 5, "other", "other", [12])
    (proc / "5" / "comm").write_bytes("aufzugs-wachenä".encode()[:15] + b"\n")
    process(proc, 7, "redis-server", "redis-server", [11])
    assert [one.pid for one in listeners("redis-server", proc)] == [7]


def test_children_with_the_same_sockets_are_one(proc):
    for pid in (7, 8, 9):
        process(proc, pid, "postgres", "postgres", [12])
    assert [one.pid for one in listeners("postgres", proc)] == [7]


def test_where_sockets_cannot_be_seen_ports_are_told_apart_by_what_is_usual(proc):
    # Both run as one user, whose ports are 5432, 6432 and 6379.
    process(proc, 7, "postgres", "postgres")
    process(proc, 8, "pgbouncer", "pgbouncer /etc/pgbouncer/pgbouncer.ini")
    found = {each.name: each.options for each in find_connections.find(proc)}
    assert found == {
        "pgbouncer-6432": {"dsn": "host=127.0.0.1 port=6432 dbname=pgbouncer"},
        "postgresql-5432": {"server": "host=127.0.0.1 port=5432"},
    }


def test_a_server_on_a_unix_socket_alone_is_found_by_its_folder(proc):
    process(proc, 7, "postgres", "postgres", [16])
    (one,) = find_connections.find(proc)
    assert one.options == {"server": "host=/run/postgresql port=5433"}


def test_a_haproxy_is_described_by_its_configuration(proc, tmp_path):
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        "global\n  stats socket /run/user.sock level user\n  stats socket ipv4@127.0.0.1:9999 level admin\n"
        "backend app\n  balance leastconn\n  server a 127.0.0.1:1\n"
        "backend shop\n  server-template s 3 shop:80\n"
    )
    process(proc, 7, "haproxy", f"haproxy -f {configuration}", [11])
    assert [each.options["url"] for each in find_loadbalancer.find(proc)] == [
        "haproxy+tcp://127.0.0.1:9999?backend=app",
        "haproxy+tcp://127.0.0.1:9999?backend=shop",
    ]


def test_a_haproxy_s_proxies_without_a_server_cannot_be_steered(proc, tmp_path):
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(
        "global\n  stats socket /run/admin.sock level admin\n"
        "frontend in\n  bind :80\n  default_backend app\n"
        "backend app\n  # server old 127.0.0.1:1\n  server a 127.0.0.1:2\n"
        "listen stats\n  bind :8404\n  default-server check\n  stats enable\n"
        "peers others\n  bind :1024\n  server here\n"
        "backend moved\n  redirect scheme https\n"
    )
    process(proc, 7, "haproxy", f"haproxy -f {configuration}", [11])
    found = {each.name: each for each in find_loadbalancer.find(proc)}
    assert {name: each.possible for name, each in found.items()} == {
        "haproxy-app": True,
        "haproxy-stats": False,
        "haproxy-moved": False,
    }
    assert found["haproxy-stats"].note == "HAProxy's 'stats' has no server"


@pytest.mark.parametrize(
    ("socket", "url"),
    [
        ("ipv6@::1:9999", "haproxy+tcp://[::1]:9999"),
        ("ipv6@[::1]:9999", "haproxy+tcp://[::1]:9999"),
        (":::9999", "haproxy+tcp://[::1]:9999"),
        ("*:9999", "haproxy+tcp://127.0.0.1:9999"),
        (":9999", "haproxy+tcp://127.0.0.1:9999"),
    ],
)
def test_a_haproxy_is_found_wherever_it_listens(proc, tmp_path, socket, url):
    configuration = tmp_path / "haproxy.cfg"
    configuration.write_text(f"global\n  stats socket {socket} level admin\nbackend app\n  server a :1\n")
    process(proc, 7, "haproxy", f"haproxy -f {configuration}", [11])
    (one,) = find_loadbalancer.find(proc)
    assert one.options["url"] == f"{url}?backend=app"
    assert "[::1]" not in url or "[::1]:9999" in repr(open_balancer(one.options["url"]))


@pytest.mark.parametrize("where", ["abns@haproxy", "fd@${ADMIN}", "sockpair@4"])
def test_a_socket_of_haproxy_s_that_cannot_be_reached_is_passed_over(proc, tmp_path, where):
    configuration = tmp_path / "haproxy.cfg"
    text = f"global\n  stats socket {where} level admin\nbackend app\n  server a :1\n"
    configuration.write_text(text)
    process(proc, 7, "haproxy", f"haproxy -f {configuration}", [11])
    (one,) = find_loadbalancer.find(proc)
    assert not one.possible
    assert "no `stats socket` at a path or a port" in one.note
    configuration.write_text(text.replace("global", "global\n  stats socket /run/a.sock level admin"))
    (one,) = find_loadbalancer.find(proc)
    assert one.options["url"] == "haproxy+unix:///run/a.sock?backend=app"


@pytest.mark.parametrize("program", ["haproxy", "envoy"])
def test_what_is_missing_to_steer_it_is_told(proc, program):
    process(proc, 7, program, f"{program} -f /nowhere -c /nowhere", [11])
    (one,) = find_loadbalancer.find(proc)
    assert one.options == {}
    assert "process 7" in one.note

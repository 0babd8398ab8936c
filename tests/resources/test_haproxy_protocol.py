"""What HAProxy's adapter makes of answers that a real one gives rarely: cut short, or of another version."""

from __future__ import annotations

import contextlib
import socket
import threading

import pytest

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources.haproxy import HAProxy

INFO = "Name: HAProxy\nVersion: 9.9.9\nPid: 42\nUptime_sec: 100\n"
STAT = (
    "# pxname,svname,qcur,scur,stot,hrsp_5xx,econ,eresp,bck,status,last_chk\n"
    'app,s1,1,2,10,3,4,5,0,UP,"said ""hi"", then left"\n'
    "app,s2,0,0,7,,0,0,1,no check,\n"
)
STATE = (
    "1\n# be_id srv_name srv_op_state srv_admin_state srv_uweight\n"
    "3 s1 2 0 50\n3 s2 2 8 60\n"
)  # fmt: skip
WHOLE = f"{INFO}\n{STAT}\n{STATE}\n"
READ_BACK = f"{STATE}\n"


@contextlib.contextmanager
def scripted(listener):
    """What is asked of a listener, and a function that scripts its answers; the last one is repeated."""
    script = [WHOLE]
    asked = []
    listener.listen()

    def serve():
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    asked.append(connection.recv(65536).decode())
                    connection.sendall((script.pop(0) if len(script) > 1 else script[0]).encode())

    thread = threading.Thread(target=serve)
    thread.start()

    def answers(*texts):
        script[:] = texts

    try:
        yield answers, asked
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10.0)


@pytest.fixture
def haproxy(tmp_path):
    """An adapter, a function that scripts the answers to come, and what is asked."""
    path = str(tmp_path / "admin.sock")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    with scripted(listener) as (answers, asked):
        yield HAProxy("app", path=path), answers, asked


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_it_is_asked_by_ipv4_and_ipv6(family, host):
    listener = socket.socket(family)
    try:
        listener.bind((host, 0))
    except OSError as error:
        listener.close()
        pytest.skip(f"this machine has no {host}: {error}")
    with scripted(listener) as (_, asked):
        balancer = HAProxy("app", address=(host, listener.getsockname()[1]))
        assert balancer.read().run.startswith("42")
        assert len(asked) == 1


def test_a_row_says_what_it_means(haproxy):
    balancer, _, asked = haproxy
    reading = balancer.read()
    assert asked == ["show info; show stat app 4 -1; show servers state app\n"]
    assert reading.run.startswith("42")
    one, two = reading.back_ends["s1"], reading.back_ends["s2"]
    assert (one.weight, one.started, one.ended, one.failed, one.in_flight) == (50, 10, 8, 12, 3)
    assert one.up
    assert not one.spare
    assert two.weight == 0  # drained
    assert two.spare


@pytest.mark.parametrize("changes", [("Pid: 42", "Pid: 43"), ("Uptime_sec: 100", "Uptime_sec: 0")])
def test_a_restart_is_told_by_the_process_or_in_a_container_by_its_age(haproxy, changes):
    balancer, answers, _ = haproxy
    first = balancer.read().run
    answers(WHOLE.replace("Uptime_sec: 100", "Uptime_sec: 101"))
    assert balancer.read().run == first
    answers(WHOLE.replace(*changes))
    second = balancer.read().run
    assert second != first
    assert balancer.read().run == second


@pytest.mark.parametrize("length", range(1, len(WHOLE)))
def test_an_answer_cut_short_anywhere_is_told_and_never_believed(haproxy, length):
    balancer, answers, _ = haproxy
    answers(WHOLE[:length])
    with pytest.raises(SensorError, match="HAProxy"):
        balancer.read()


def test_no_answer_at_all_is_told(haproxy):
    balancer, answers, _ = haproxy
    answers("")
    with pytest.raises(SensorError, match="ended in the middle"):
        balancer.read()


def test_a_version_without_a_column_is_named(haproxy):
    balancer, answers, _ = haproxy
    answers(WHOLE.replace("srv_uweight", "srv_weight"))
    with pytest.raises(SensorError, match=r"9\.9\.9\) reports no srv_uweight; known to work"):
        balancer.read()


def test_something_else_on_the_socket_is_told(haproxy):
    balancer, answers, _ = haproxy
    answers("220 smtp ready\n\nbye\n\nbye\n\n")
    with pytest.raises(SensorError, match="is this a HAProxy"):
        balancer.read()


def test_a_weight_that_is_not_taken_is_noticed_by_reading_back(haproxy):
    balancer, answers, asked = haproxy
    balancer.read()
    answers("\n", READ_BACK)
    with pytest.raises(
        ActuatorError, match=r"did not take the weights .* it reports \{'s1': 50\}; .* as they were"
    ):
        balancer.write({"s1": 77})
    assert asked[1:3] == ["set server app/s1 weight 77\n", "show servers state app\n"]


@pytest.mark.parametrize("length", range(len(READ_BACK)))
def test_what_is_read_back_cut_short_is_not_believed(haproxy, length):
    balancer, answers, _ = haproxy
    balancer.read()
    answers("\n", READ_BACK[:length], READ_BACK)
    with pytest.raises(ActuatorError, match="as they were"):
        balancer.write({"s1": 50})


def test_weights_that_could_not_be_put_back_are_named(haproxy):
    balancer, answers, _ = haproxy
    balancer.read()
    answers("No such server.\n", "")
    with pytest.raises(
        ActuatorError, match=r"refused .*No such server.*weights \{'s1': 50\} could not be put back"
    ):
        balancer.write({"s1": 77})


def test_a_drained_server_is_made_ready_again_and_only_such_a_one(haproxy):
    balancer, answers, asked = haproxy
    balancer.read()
    answers("\n\n\n", READ_BACK.replace("s1 2 0 50", "s1 2 0 51").replace("s2 2 8 60", "s2 2 0 61"))
    balancer.write({"s1": 51, "s2": 61})
    assert asked[1] == (
        "set server app/s1 weight 51; set server app/s2 weight 61; set server app/s2 state ready\n"
    )


def test_of_a_server_in_maintenance_only_the_weight_is_set(haproxy):
    balancer, answers, asked = haproxy
    answers(WHOLE.replace("s1 2 0 50", "s1 0 1 50"))
    balancer.read()
    for weight in (0, 51):
        answers("\n", READ_BACK.replace("s1 2 0 50", f"s1 0 1 {weight}"))
        balancer.write({"s1": weight})
    assert [line for line in asked if "set" in line] == [
        "set server app/s1 weight 0\n",
        "set server app/s1 weight 51\n",
    ]


def test_a_weight_out_of_range_is_refused_here(haproxy):
    balancer, _, asked = haproxy
    balancer.read()
    with pytest.raises(ActuatorError, match="not within 0 to 256"):
        balancer.write({"s1": 300})
    assert not any("weight" in line for line in asked)


def test_a_refused_removal_is_told_and_one_in_use_is_tried_again(haproxy):
    balancer, answers, asked = haproxy
    answers("\n\n", "Server still has connections attached to it, cannot remove it.\n")
    assert not balancer.remove("s1")
    assert asked == [
        # The weight too: it would be that of its time in use, which nobody has ordered any more.
        "set server app/s1 weight 0; set server app/s1 state maint\n",
        "del server app/s1\n",
    ]
    answers("\n", "This server cannot be removed at runtime.\n")
    with pytest.raises(ActuatorError, match="cannot be removed at runtime"):
        balancer.remove("s1")

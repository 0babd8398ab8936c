"""The control socket: what it answers, whom it lets in, and that no input upsets it."""

import json
import socket
from math import inf, nan

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantum_control import ConfigError, LifecycleError
from quantum_control.config import Config
from quantum_control.daemon.control import LONGEST, ControlSocket, ask
from quantum_control.daemon.service import ACTIONS, Service


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    folder = tmp_path_factory.mktemp("service")
    config = Config(state_directory=folder / "state", runtime_directory=folder / "run", socket_mode="0600")
    service = Service(folder / "none.toml", config)
    yield service
    assert service.end() == 0


def path(service):
    return service.config.runtime_directory / "control.sock"


def exchange(service, content):
    """Send bytes, close our side, and return all lines that are answered."""
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(30.0)
        end.connect(str(path(service)))
        end.sendall(content)
        end.shutdown(socket.SHUT_WR)
        with end.makefile("rb") as file:
            return [json.loads(each) for each in file.read().splitlines()]


def test_its_permissions_are_those_asked_for(service):
    assert path(service).stat().st_mode & 0o777 == 0o600


def test_an_unknown_action_or_resource_is_refused_with_what_is_near(service):
    with pytest.raises(ConfigError, match="did you mean 'status'"):
        ask(path(service), do="statsu")
    with pytest.raises(ConfigError, match="unknown resource 'web'"):
        ask(path(service), do="explain", resource="web")


def test_several_questions_on_one_connection_are_answered_in_order(service):
    answers = exchange(service, b'{"do": "status"}\n{"do": "nothing"}\n{"do": "status"}\n')
    assert [each["ok"] for each in answers] == [True, False, True]


def test_a_line_without_end_is_cut_off(service):
    (answer,) = exchange(service, b"x" * (LONGEST + 1))
    assert answer == {"ok": False, "error": f"more than {LONGEST} bytes in a line"}


def test_a_figure_that_is_no_number_is_null_as_json_has_none(tmp_path):
    served = ControlSocket(tmp_path, 0o600, lambda _: [{"wanted": nan, "force": -inf, "size": 3}])
    with socket.socket(socket.AF_UNIX) as end:
        end.settimeout(30.0)
        end.connect(str(served.path))
        end.sendall(b'{"do": "status"}\n')
        with end.makefile("rb") as file:
            answer = json.loads(file.readline(), parse_constant=pytest.fail)
    served.close()
    assert answer == {"ok": True, "result": [{"wanted": None, "force": None, "size": 3}]}


QUESTIONS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10) | st.sampled_from(ACTIONS),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["do", "resource", "mode", "x"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@settings(max_examples=100)
@given(question=QUESTIONS)
def test_whatever_is_asked_is_answered(service, question):
    (answer,) = exchange(service, json.dumps(question).encode() + b"\n")
    assert answer["ok"] in (True, False)
    assert "Traceback" not in json.dumps(answer)


@settings(max_examples=100)
@given(content=st.binary(max_size=300))
def test_whatever_bytes_come_the_next_question_is_answered(service, content):
    exchange(service, content)
    assert ask(path(service), do="status") == []


def test_a_client_that_says_nothing_keeps_nobody_waiting(service):
    with socket.socket(socket.AF_UNIX) as silent:
        silent.connect(str(path(service)))
        assert ask(path(service), do="status") == []


def test_a_second_daemon_in_the_same_place_is_refused(service):
    with pytest.raises(ConfigError, match="another daemon answers"):
        ControlSocket(service.config.runtime_directory, 0o600, lambda question: None)


def test_a_socket_left_over_is_taken(tmp_path):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / "control.sock"))
    control = ControlSocket(tmp_path, 0o600, lambda question: "here")
    assert ask(control.path, do="x") == "here"
    control.close()
    with pytest.raises(LifecycleError, match="no daemon answers"):
        ask(control.path, do="x")

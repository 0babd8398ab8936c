"""The front of all buffers, and what is found of them; nothing of this machine is changed."""

import pytest

from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.resources.buffer import BufferResource
from quantum_control.resources.find_buffer import find
from quantum_control.resources.netns import inside


def test_the_control_has_to_be_known():
    with pytest.raises(ConfigError, match="did you mean 'queue'"):
        BufferResource("eth0", control="queues")


def test_a_queue_is_that_of_an_interface():
    with pytest.raises(ConfigError, match="interface="):
        BufferResource()
    with pytest.raises(SensorError, match="ip link"):
        BufferResource(interface="nope")


@pytest.mark.parametrize("control", ["sysctl", "ebpf"])
@pytest.mark.parametrize("given", [{"interface": "eth0"}, {"metric_source": "prometheus://localhost"}])
def test_socket_buffers_are_not_of_an_interface(control, given):
    with pytest.raises(ConfigError, match="takes neither"):
        BufferResource(control=control, **given)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"target_seconds": 0.0}, "target_seconds"),
        ({"target_seconds": float("nan")}, "target_seconds"),
        ({"hands_off": -1.0}, "hands_off"),
        ({"parent": "fog"}, "parent='fog'"),
        ({"fog": 1}, "fog"),
    ],
)
def test_a_wrong_parameter_is_named(wrong, told):
    with pytest.raises(ConfigError, match=told):
        BufferResource("lo", **wrong)


def test_the_loopback_has_no_queue_to_steer():
    with pytest.raises(ConfigError, match="replace=True"):
        BufferResource("lo")


def test_what_is_found_has_a_name_of_its_own_and_says_what_it_is():
    found = list(find())
    assert len({each.name for each in found}) == len(found)
    for each in found:
        assert (each.kind, each.options["control"]) == ("buffer", "queue")
        assert each.options["interface"] in each.name
        assert each.note


def test_what_a_visitor_of_a_namespace_raises_comes_back():
    def fail():
        raise SensorError("inside")

    with pytest.raises(SensorError, match="inside"):
        inside(None, fail)
    with pytest.raises(SensorError, match="namespace"):
        inside("nope", fail)

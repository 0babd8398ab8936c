"""A CoDel's target before a kernel of our own making: those here have none."""

import struct

import pytest
from forked import in_child

from quantum_control.core.errors import ActuatorError
from quantum_control.resources import queue_site
from quantum_control.resources.netlink import ROOT, Link, Qdisc, attribute, attributes
from quantum_control.resources.queue_kinds import codel_reads_back
from quantum_control.resources.queue_limit import QueueLimit


class Kernel:
    """One interface with an fq_codel, and the netlink connection to it."""

    namespace = "cookie 1"

    def __init__(self):
        self.target = codel_reads_back(5000)
        self.stubborn = 0  # changes to come of which another target comes out
        self.asked = []

    def __call__(self, netns):
        return self

    def lost(self):
        return False

    def close(self):
        pass

    def link(self, name):
        return Link(2, name, 1500, 1000)

    def qdiscs(self, index=None):
        return [self.qdisc(index, ROOT)]

    def qdisc(self, index, parent):
        return Qdisc("fq_codel", index, 0x10000, parent, attribute(1, struct.pack("=I", self.target)))

    def change(self, qdisc, options):
        ((_, begin, _),) = attributes(options)
        (asked,) = struct.unpack_from("=I", options, begin)
        self.asked.append(asked)
        self.target = codel_reads_back(asked)
        if self.stubborn:
            self.stubborn -= 1
            self.target = 77


@pytest.fixture
def kernel(monkeypatch):
    kernel = Kernel()
    monkeypatch.setattr(queue_site, "Netlink", kernel)
    return kernel


def test_the_target_is_set_alone_and_put_back_to_the_unit(kernel):
    queue = QueueLimit("eth9", target_seconds=0.02)
    assert queue.measure_state().size == 4999.0  # units of 1.024 µs
    queue.apply_control(20_000)
    assert kernel.target == 20_000
    queue.apply_control(4999)
    assert (kernel.target, kernel.asked[-1]) == (4999, 5000)
    assert queue.get_metrics()["set_by_hand"] == 0.0


def test_a_target_that_is_not_taken_is_put_back_to_the_unit_too(kernel):
    queue = QueueLimit("eth9", target_seconds=0.02)
    kernel.stubborn = 1
    with pytest.raises(ActuatorError, match="the limit is 77 after 20000 was set; it is put back to 4999"):
        queue.apply_control(20_000)
    assert kernel.target == 4999
    queue.apply_control(20_000)
    assert queue.get_metrics()["set_by_hand"] == 0.0


def test_a_forked_child_takes_nothing_away_that_its_parent_has_put_there(kernel, monkeypatch):
    queue = QueueLimit("eth9")
    taken_away = []
    monkeypatch.setattr(queue, "_take_away", lambda: taken_away.append(True))

    def child():
        queue.release()
        assert taken_away == []
        queue.apply_control(9000)
        queue.release()
        assert taken_away == [True]

    assert in_child(child) == 0
    queue.release()
    assert taken_away == [True]

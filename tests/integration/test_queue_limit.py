"""The limit of a real queue, in network namespaces of our own."""

from __future__ import annotations

import subprocess
import sys
import threading
from dataclasses import replace

import pytest
from integration.flood import Flood, wait_until

from quantum_control.bench.network_bed import BOTTLENECK, FRAME, NetworkBed
from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError, SafetyError, SensorError
from quantum_control.core.safety import GuardSettings
from quantum_control.resources.buffer import BufferResource
from quantum_control.resources.netlink import Netlink
from quantum_control.resources.queue_limit import QueueLimit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
]

TARGET = 0.05

LEAVES = {
    "tbf": 1000 * FRAME,
    "tbf bfifo limit 300000": 300_000,
    "tbf pfifo limit 200": 200,
    "htb bfifo limit 300000": 300_000,
    "htb pfifo limit 200": 200,
}
"""Bottlenecks, and the limits that they are made with."""


@pytest.fixture(params=LEAVES)
def any_bed(request):
    with NetworkBed(10e6, qdisc=request.param) as bed:
        bed.found = LEAVES[request.param]
        yield bed


@pytest.fixture
def bed():
    with NetworkBed(10e6) as bed:
        yield bed


def limit_of(bed, **options):
    return QueueLimit(BOTTLENECK, netns=bed.netns, target_seconds=TARGET, **options)


def settings(bed):
    """What the kernel keeps of every queue of the bottleneck, without what it counts."""
    netlink = Netlink(bed.netns)
    try:
        return [(each.kind, each.handle, each.parent, each.options) for each in netlink.qdiscs()]
    finally:
        netlink.close()


def steer(resource, until, interval=0.05, model="optomechanical", tries=200):
    """Take steps until `until(decision)`; the controller, and whether it came to that."""
    controller = QuantumController(
        resource, physics_model=model, interval=interval, guard=GuardSettings(slew_down=10.0)
    )
    ending = threading.Event()
    for _ in range(tries):
        if until(controller.optimize()):
            return controller, True
        ending.wait(interval)
    return controller, False


def test_a_limit_is_set_read_back_and_put_back_exactly(any_bed):
    before = settings(any_bed)
    with limit_of(any_bed) as resource:
        assert resource.measure_state().size == any_bed.found
        resource.apply_control(77_777)
        assert settings(any_bed) != before
        assert resource.measure_state().size == 77_777
        resource.apply_control(any_bed.found)
        assert settings(any_bed) == before


def test_the_limit_follows_the_rate_and_is_put_back_at_the_end(any_bed):
    with limit_of(any_bed) as resource, Flood(any_bed):
        unit = 1.0 if resource.unit == "bytes" else FRAME

        def near(rate):
            full = rate / 8.0 * TARGET / unit
            return lambda decision: 0.85 * full < decision.allowed < 1.2 * full

        controller, there = steer(resource, near(10e6))
        assert there, controller.decisions
        any_bed.set_rate(30e6)
        _, there = steer(resource, near(30e6))
        assert there
        any_bed.set_rate(10e6)
        _, there = steer(resource, near(10e6))
        assert there
        controller.stop()
    assert any_bed.queue_limit() == any_bed.found


@pytest.mark.parametrize("model", ["optomechanical", "parametric", "coherent", "auto"])
def test_every_model_comes_to_the_limit_that_takes_the_target_to_drain(bed, model):
    full = 10e6 / 8.0 * TARGET
    with limit_of(bed) as resource, Flood(bed):

        def there(decision):
            return 0.85 * full < decision.allowed < 1.2 * full and resource.get_metrics()["drops"] > 0.0

        controller, arrived = steer(resource, there, model=model)
        assert arrived, controller.decisions
        assert resource.get_metrics()["drain_rate"] == pytest.approx(10e6 / 8.0, rel=0.1)
        controller.stop()


def test_what_is_queued_stays_when_the_limit_is_lowered(any_bed):
    with limit_of(any_bed) as resource, Flood(any_bed, excess=4.0):
        netlink = Netlink(any_bed.netns)

        def queued():
            return max(each.backlog_packets for each in netlink.qdiscs())

        assert wait_until(lambda: queued() > 100)
        resource.apply_control(resource.min_size)
        # At 10 Mbit/s no more than a dozen packets leave meanwhile, on a busy machine too.
        assert queued() > 20
        netlink.close()


def test_a_light_load_does_not_shrink_the_limit(bed):
    with limit_of(bed) as resource, Flood(bed, excess=0.2):
        controller, _ = steer(resource, lambda decision: False, tries=20)
        assert controller.size == pytest.approx(1000 * FRAME, rel=0.05)
        controller.stop()


def test_a_limit_set_by_somebody_else_is_noticed_and_left_alone(bed, caplog):
    with limit_of(bed, hands_off=60.0) as resource:
        resource.measure_state()
        resource.apply_control(100_000)
        bed.set_rate(10e6, limit=123_456)
        assert resource.measure_state().size == 123_456
        assert "changed from 100000 to 123456 by somebody else" in caplog.text
        assert resource.get_metrics()["set_by_hand"] == 1.0
        with pytest.raises(SafetyError, match="somebody else"):
            resource.apply_control(50_000)
        assert bed.queue_limit() == 123_456


def test_a_limit_set_by_somebody_else_is_what_is_put_back(bed):
    seconds = [0.0]
    resource = limit_of(bed, hands_off=300.0, clock=lambda: seconds[0])
    kept = resource.snapshot()
    resource.apply_control(100_000)
    bed.set_rate(10e6, limit=123_456)
    resource.restore(kept)  # as the daemon does when it ends
    assert bed.queue_limit() == 123_456
    assert resource.found_anew == 1
    for put_back in (lambda: resource.apply_control(123_456), lambda: resource.restore(kept)):
        seconds[0] += 301.0
        resource.apply_control(50_000)
        assert bed.queue_limit() == 50_000
        put_back()
        assert bed.queue_limit() == 123_456
    resource.release()


def test_a_change_of_the_rate_by_somebody_else_is_kept(bed):
    with limit_of(bed) as resource:
        bed.set_rate(20e6)
        resource.apply_control(100_000)
        assert "rate 20Mbit" in bed.router.run("tc", "qdisc", "show", "dev", BOTTLENECK)


def test_an_interface_that_vanishes_is_told(bed):
    with limit_of(bed) as resource:
        controller = QuantumController(resource)
        controller.optimize()
        bed.router.run("ip", "link", "del", BOTTLENECK)
        with pytest.raises(GoneError, match="interface is not there"):
            resource.measure_state()
        with pytest.raises(ActuatorError, match="interface is not there"):
            resource.apply_control(50_000)
        assert "GoneError" in controller.optimize().reasons[0]


def test_a_queue_discipline_that_was_replaced_is_left_alone(bed):
    with limit_of(bed) as resource:
        bed.router.run("tc", "qdisc", "replace", "dev", BOTTLENECK, "root", "handle", "7:", "pfifo")
        with pytest.raises(GoneError, match="pfifo 7: root instead"):
            resource.measure_state()


def test_missing_privilege_is_told_and_nothing_changes(bed):
    before = settings(bed)
    code = (
        "from quantum_control.resources.queue_limit import QueueLimit\n"
        "resource = QueueLimit('r1')\n"
        "print(resource.measure_state().size)\n"
        "resource.apply_control(50_000)\n"
    )
    process = bed.router.start(
        ["setpriv", "--bounding-set", "-net_admin", "--inh-caps", "-net_admin", sys.executable, "-c",
         "import sys; sys.stderr = sys.stdout\n" + code],
        output=subprocess.PIPE,
    )  # fmt: skip
    told = process.communicate(timeout=60)[0].decode()
    assert "1514000.0" in told
    assert "CAP_NET_ADMIN" in told
    assert settings(bed) == before


def test_the_hidden_default_of_a_class_is_replaced_only_if_told_to():
    with NetworkBed(10e6, qdisc="htb") as bed:
        before = settings(bed)
        with pytest.raises(ConfigError, match="parent="):
            limit_of(bed)
        with pytest.raises(ConfigError, match="replace=True"):
            limit_of(bed, parent="1:1")
        with limit_of(bed, parent="1:1", replace=True) as resource:
            assert resource.unit == "bytes"
            resource.apply_control(50_000)
            assert len(settings(bed)) == len(before) + 1
        assert settings(bed) == before


def test_a_snapshot_puts_everything_back_from_another_instance(any_bed):
    before = settings(any_bed)
    killed = limit_of(any_bed)
    snapshot = killed.snapshot()
    killed.apply_control(44_444)
    killed._site.close()  # as a kill would
    with limit_of(any_bed) as fresh:
        fresh.restore(snapshot)
    assert settings(any_bed) == before


def test_a_pfifo_fast_is_steered_by_the_queue_length_of_its_interface(bed):
    bed.client.run("tc", "qdisc", "add", "dev", "c0", "root", "pfifo_fast")
    with QueueLimit("c0", netns=bed.client.path) as resource:
        assert (resource.unit, resource.measure_state().size) == ("packets", 1000)
        resource.apply_control(300)
        assert "qlen 300" in bed.client.run("ip", "link", "show", "c0")
        resource.apply_control(1000)
        assert "qlen 1000" in bed.client.run("ip", "link", "show", "c0")


def test_a_pfifo_fast_shrinks_no_faster_than_it_drains_but_is_put_back_at_once(bed, monkeypatch):
    bed.client.run("tc", "qdisc", "add", "dev", "c0", "root", "pfifo_fast")
    read = Netlink.qdisc
    # A veth takes all that comes: nothing waits before it.
    monkeypatch.setattr(Netlink, "qdisc", lambda *place: replace(read(*place), backlog_packets=1500))
    with QueueLimit("c0", netns=bed.client.path) as resource:
        for asked, taken in ((3000, 3000), (1200, 1500), (3000, 3000), (1000, 1000)):
            resource.apply_control(asked)
            assert f"qlen {taken}" in bed.client.run("ip", "link", "show", "c0")


@pytest.mark.parametrize("name", ["nope", "/proc/0/ns/net"])
def test_a_namespace_or_interface_that_is_not_there_is_told(bed, name):
    with pytest.raises(SensorError, match="namespace"):
        QueueLimit(BOTTLENECK, netns=name)
    with pytest.raises(SensorError, match="ip link"):
        QueueLimit("nope", netns=bed.netns)


def test_the_front_steers_the_queue(bed):
    with BufferResource(interface=BOTTLENECK, netns=bed.netns) as resource:
        assert resource.measure_state().size == 1000 * FRAME
        controller = QuantumController(resource=resource, physics_model="optomechanical", auto_tune=True)
        assert controller.optimize().state.size == 1000 * FRAME
        controller.stop()

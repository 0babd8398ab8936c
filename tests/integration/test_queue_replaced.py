"""A bfifo in place of the kernel's own queue: from when on it is there, and who takes it away."""

from __future__ import annotations

import json
import threading

import pytest
from integration.flood import Flood

from quantum_control.bench.network_bed import BOTTLENECK, FRAME, NetworkBed
from quantum_control.config import ResourceSection
from quantum_control.core.errors import ActuatorError, ConfigError, GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.originals import build
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings
from quantum_control.resources.netlink import Netlink, handle_name
from quantum_control.resources.queue_limit import QueueLimit

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
]

BORN = 1000 * FRAME
"""Limit of a bfifo at an interface with the usual `txqueuelen`."""

KILLED = Writer(1, 999_999_999, boot_id())


@pytest.fixture
def bed():
    with NetworkBed(10e6, qdisc="htb") as bed:
        bed.found = queues(bed)
        yield bed


@pytest.fixture
def around(tmp_path):
    journal, audit = Journal(tmp_path / "journal.db"), AuditLog(tmp_path, 65_536, 2)
    yield Surroundings(journal, audit, {}, tmp_path / "locks", tmp_path)
    journal.close()
    audit.close()


def queues(bed):
    """What the kernel shows of every queue of the router, without what it counts."""
    netlink = Netlink(bed.netns)
    try:
        return [(each.kind, each.handle, each.parent, each.options) for each in netlink.qdiscs()]
    finally:
        netlink.close()


def options(bed):
    return {"interface": BOTTLENECK, "netns": bed.netns, "parent": "1:1", "replace": True}


def steering(bed, around, mode):
    section = ResourceSection(kind="buffer", mode=mode, interval=0.05, options=options(bed))
    return Steering("queue", section, around)


def killed(bed, around, *orders):
    """What is in the journal of a process that was killed after these orders."""
    resource = QueueLimit(**options(bed))
    size = round(resource.measure_state().size)
    kept = json.loads(json.dumps(resource.snapshot()))
    for order in orders:
        resource.apply_control(order)
    resource._site.close()
    ours = (min(orders), max(orders)) if orders else None
    original = Original("queue", "buffer", options(bed), size, KILLED, snapshot=kept, ours=ours)
    around.journal.keep(original)
    return original


@pytest.mark.parametrize("mode", ["observe", "shadow"])
def test_in_other_modes_than_active_the_default_is_only_looked_at(bed, around, mode):
    looking = steering(bed, around, mode)
    with Flood(bed):
        for _ in range(4):
            threading.Event().wait(0.05)
            decision = looking.step()
            assert queues(bed) == bed.found
    assert looking.trouble == ""
    assert decision.state is not None
    assert looking.controller.metrics["sent"] > 0.0, "the kernel's own queue is measured"
    assert looking.controller.original == BORN
    looking.end()
    assert queues(bed) == bed.found


def test_the_default_makes_room_with_the_first_limit_that_is_set(bed):
    resource = QueueLimit(**options(bed))
    assert resource.measure_state().size == BORN
    told = resource.snapshot()
    assert (told["kind"], told["handle"], told["limit"]) == ("pfifo", 0, BORN)
    resource.apply_control(BORN)
    assert queues(bed) == bed.found
    resource.apply_control(50_000)
    assert f"bfifo {handle_name(told['added'])} parent 1:1 limit 50000b" in bed.router.run(
        "tc", "qdisc", "show", "dev", BOTTLENECK
    )
    assert resource.measure_state().size == 50_000
    resource.release()
    assert queues(bed) == bed.found


def test_active_steers_it_and_the_end_brings_the_default_back(bed, around):
    active = steering(bed, around, "active")
    with Flood(bed):
        for _ in range(100):
            threading.Event().wait(0.05)
            active.step()
            if queues(bed) != bed.found:
                break
        assert queues(bed) != bed.found, active.explain()
    assert len(around.journal.originals()) == 1
    active.end()
    assert queues(bed) == bed.found
    assert around.journal.originals() == []


@pytest.mark.parametrize("orders", [(), (50_000,), (50_000, 60_000)])
def test_of_a_process_that_was_killed_nothing_is_left(bed, around, orders):
    original = killed(bed, around, *orders)
    assert (queues(bed) == bed.found) is not bool(orders)
    outcome = recover(around.journal, original, build)
    assert outcome.fate is Fate.RESTORED, outcome
    assert queues(bed) == bed.found
    assert around.journal.originals() == []


def test_what_a_killed_process_has_left_is_taken_over_and_away_by_the_next(bed, around):
    killed(bed, around, 50_000)
    with QueueLimit(**options(bed)) as resource:
        assert resource.measure_state().size == 50_000
        resource.apply_control(60_000)
    assert queues(bed) == bed.found


def test_a_queue_that_somebody_has_put_in_its_place_stays(bed, around):
    original = killed(bed, around, 50_000)
    with QueueLimit(**options(bed)) as steered:
        bed.router.run(*f"tc qdisc replace dev {BOTTLENECK} parent 1:1 handle 9: pfifo limit 77".split())
        theirs = queues(bed)
        with pytest.raises(GoneError, match="pfifo 9: parent 1:1 instead"):
            steered.measure_state()
        with pytest.raises(ActuatorError, match="pfifo 9:"):
            steered.apply_control(70_000)
    outcome = recover(around.journal, original, build)
    assert outcome.fate is Fate.GONE, outcome
    assert around.journal.originals() == []
    assert queues(bed) == theirs


@pytest.mark.parametrize("waited", [1.0, 301.0])
def test_a_limit_that_somebody_has_set_stays_with_the_bfifo(bed, caplog, waited):
    seconds = [0.0]
    resource = QueueLimit(**options(bed), clock=lambda: seconds[0])
    kept = resource.snapshot()
    resource.apply_control(50_000)
    change = (
        f"tc qdisc change dev {BOTTLENECK} parent 1:1 handle {handle_name(kept['added'])} bfifo limit 77777"
    )
    bed.router.run(*change.split())
    resource.measure_state()
    seconds[0] += waited
    if waited > 300.0:  # steered on, it is theirs that is put back
        resource.apply_control(60_000)
    resource.restore(kept)
    resource.release()
    assert "limit 77777b" in bed.router.run("tc", "qdisc", "show", "dev", BOTTLENECK)
    assert "set by somebody else" in caplog.text


def test_a_class_that_is_not_there_and_a_queue_of_somebody_are_told(bed):
    with pytest.raises(GoneError, match="class"):
        QueueLimit(**options(bed) | {"parent": "1:99"})
    with pytest.raises(ConfigError, match="holds no packets itself"):
        QueueLimit(**options(bed) | {"parent": "root"})
    assert queues(bed) == bed.found

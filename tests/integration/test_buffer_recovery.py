"""Buffers whose interface, namespace or cgroup has ended: nothing is left, on disk neither."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from integration.flood import wait_until
from integration.requirements import require

from quantum_control.bench.namespace import Namespace
from quantum_control.core.errors import GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.journalled import Journalled
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id
from quantum_control.daemon.originals import build
from quantum_control.resources.buffer import BufferResource
from quantum_control.resources.queue_limit import QueueLimit
from quantum_control.resources.socket_bpf import SockOps, cgroup2_root

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
]

KILLED = Writer(1, 999_999_999, boot_id())


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


class Place:
    """A network namespace by a name of ours, with a queue in it."""

    def __init__(self, name):
        self.name = name
        self.remake()

    def remake(self):
        """Another one of the same name, as of a container that was started anew."""
        old, self.namespace = getattr(self, "namespace", None), Namespace()
        self.name.unlink(missing_ok=True)
        self.name.symlink_to(self.namespace.path)
        if old is not None:
            old.close()
        self.queue("add")

    def queue(self, how, limit=30_000):
        if how == "add":
            self.namespace.run("ip", "link", "add", "v0", "type", "veth", "peer", "name", "v1")
        self.namespace.run(*f"tc qdisc {how} dev v0 root handle 1: bfifo limit {limit}".split())

    def delete(self):
        self.name.unlink()
        self.namespace.close()

    def settings(self):
        rmem = Path("/proc/sys/net/ipv4/tcp_rmem")
        return self.namespace.run("tc", "qdisc", "show", "dev", "v0"), self.namespace.call(rmem.read_text)


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path / "name")
    yield place
    place.namespace.close()


@pytest.fixture(params=["queue", "sysctl"])
def asked(request, place):
    """Options of a resource of that place."""
    options = {"control": request.param, "netns": str(place.name)}
    return options | ({"interface": "v0"} if request.param == "queue" else {})


def steered(journal, options):
    """A resource that is written down, and was given another size."""
    resource = Journalled(BufferResource(**options), journal, "buffer", "buffer", options)
    resource.apply_control(round(1.5 * resource.measure_state().size))
    return resource


def killed(journal, options):
    """What is in the journal once the process that steered it has been killed."""
    resource = BufferResource(**options)
    size = round(resource.measure_state().size)
    order, kept = round(1.5 * size), json.loads(json.dumps(resource.snapshot()))
    resource.apply_control(order)
    if options["control"] == "queue":
        resource.steered._site.close()
    original = Original("buffer", "buffer", options, size, KILLED, snapshot=kept, ours=(order, order))
    journal.keep(original)
    return original


def test_after_a_kill_everything_is_put_back(journal, place, asked):
    before = place.settings()
    original = killed(journal, asked)
    assert place.settings() != before
    assert recover(journal, original, build).fate is Fate.RESTORED
    assert place.settings() == before
    assert journal.originals() == []


def test_a_namespace_that_has_ended_leaves_nothing_in_the_journal(journal, place, asked):
    original = killed(journal, asked)
    place.delete()
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.GONE, outcome
    assert journal.originals() == []
    place.remake()
    journal.keep(original)  # as steering it anew would


def test_another_namespace_that_has_the_name_is_left_as_it_is(journal, place, asked):
    original = killed(journal, asked)
    place.remake()
    before = place.settings()
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.GONE, outcome
    assert place.settings() == before


def test_an_end_in_order_after_the_namespace_has_ended_fails_nothing(journal, place, asked, caplog):
    resource = steered(journal, asked)
    place.delete()
    resource.put_back()
    resource.resource.release()
    assert journal.originals() == []
    assert "nothing of it can be" in caplog.text


def test_an_interface_that_has_vanished_or_was_made_anew_leaves_nothing(journal, place):
    asked = {"interface": "v0", "netns": str(place.name), "control": "queue"}
    for again in (False, True):
        original, resource = killed(journal, asked), BufferResource(**asked)
        kept = resource.snapshot()
        place.namespace.run("ip", "link", "del", "v0")
        if again:
            place.queue("add", 55_555)
        with pytest.raises(GoneError, match="not there"):
            resource.measure_state()
        resource.restore(kept)  # as the daemon does when it ends
        resource.release()
        assert recover(journal, original, build).fate is Fate.GONE
        assert journal.originals() == []
        if not again:
            place.queue("add")
    assert "limit 55555b" in place.settings()[0]


def test_an_interface_that_was_renamed_is_not_taken_for_one_that_has_vanished(journal, place):
    asked = {"interface": "v0", "netns": str(place.name), "control": "queue"}
    before = place.settings()
    original = killed(journal, asked)
    place.namespace.run("ip", "link", "set", "v0", "name", "wan")
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.FAILED
    assert "v0 is called wan by now" in outcome.detail
    place.namespace.run("ip", "link", "set", "wan", "name", "v0")
    assert recover(journal, original, build).fate is Fate.RESTORED
    assert place.settings() == before


def test_a_queue_discipline_that_somebody_has_put_there_since_stays(journal, place):
    asked = {"interface": "v0", "netns": str(place.name), "control": "queue"}
    original = killed(journal, asked)
    place.namespace.run("tc", "qdisc", "replace", "dev", "v0", "root", "handle", "7:", "htb")
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.GONE, outcome
    assert "htb 7:" in place.settings()[0]


def test_a_namespace_that_is_deleted_while_it_is_steered_is_noticed_and_not_kept_from_ending():
    with Namespace() as other:
        with Namespace() as ours:
            other.run(*f"ip link add v0 type veth peer name v1 netns {ours.path}".split())
            ours.run("tc", "qdisc", "add", "dev", "v1", "root", "bfifo", "limit", "30000")
            resource = QueueLimit("v1", netns=ours.path)
            resource.apply_control(50_000)
        for _ in range(2):
            with pytest.raises(GoneError, match="network namespace"):
                resource.measure_state()
        assert wait_until(lambda: "v0" not in other.run("ip", "-o", "link"))
        resource.apply_control(30_000)  # what was found: nothing is left to be put back
        resource.release()


def test_a_cgroup_that_has_vanished_leaves_nothing_in_the_journal(journal):
    require(" cgroup2 " in Path("/proc/mounts").read_text(), "a cgroup v2 hierarchy; mount one")
    cgroup = cgroup2_root() / f"quantum-control-test-{os.getpid()}"
    cgroup.mkdir()
    try:
        options = {"control": "ebpf", "cgroup": str(cgroup)}
        kept, size = SockOps(cgroup).snapshot(), SockOps(cgroup).max_size
    finally:
        cgroup.rmdir()
    original = Original("buffer", "buffer", options, size, KILLED, snapshot=kept)
    journal.keep(original)
    assert recover(journal, original, build).fate is Fate.GONE
    assert journal.originals() == []

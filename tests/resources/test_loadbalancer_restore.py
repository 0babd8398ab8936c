"""What a process that is gone has left behind, and a fresh one puts back."""

from __future__ import annotations

import json

import pytest
from resources.fake_balancer import CAPACITIES, Clock, FakeBalancer, run

from quantum_control.core.errors import ActuatorError, SafetyError, SensorError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id
from quantum_control.daemon.originals import build
from quantum_control.resources.balancer import BackEnd
from quantum_control.resources.loadbalancer import LoadBalancerResource

FOUND = dict.fromkeys(CAPACITIES, 100)


def process(balancer, clock, **options):
    return LoadBalancerResource(balancer=balancer, min_backends=1, clock=clock, **options)


@pytest.fixture
def left():
    """A balancer of which a process has changed all that it can, and what it had kept."""
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    gone = process(balancer, clock, spares=["e:1"])
    kept = json.loads(json.dumps(gone.snapshot()))
    gone.apply_control(5)
    run(gone, balancer, clock)
    gone.apply_control(2)
    assert sorted(weight > 0 for weight in balancer.weights.values()) == [False] * 3 + [True] * 2
    yield balancer, clock, kept
    del gone  # until here, since it puts everything back when it is collected


def test_weights_come_back_and_what_was_added_goes(left):
    balancer, clock, kept = left
    fresh = process(balancer, clock, spares=["e:1"], max_backends=5)
    assert balancer.weights.keys() > FOUND.keys()
    fresh.restore(kept)
    assert balancer.weights == FOUND
    assert fresh.measure_state().size == 4
    assert fresh.foreign == {}
    writes = len(balancer.writes)
    fresh.restore(kept)
    fresh.release()
    assert len(balancer.writes) == writes
    assert balancer.weights == FOUND


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.mark.parametrize("in_use", [0, 1])
def test_the_journal_puts_back_also_where_back_ends_were_left_drained(journal, in_use):
    """At light load the slow ones rest though the number in use is the one found; one may be gone by now."""
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    gone = LoadBalancerResource(balancer=balancer, clock=clock)
    options = {"balancer": balancer, "min_backends": 3}
    writer = Writer(1, 999_999_999, boot_id())
    original = Original("web", "loadbalancer", options, 4, writer, gone.snapshot(), outlives_boot=True)
    run(gone, balancer, clock, 40, rate=30.0)
    for name in [name for name, weight in balancer.weights.items() if weight][in_use:]:
        balancer.set(name, weight=0)
    assert sum(weight > 0 for weight in balancer.weights.values()) == in_use
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.RESTORED, outcome
    assert balancer.weights == FOUND
    balancer.gone = True
    assert recover(journal, original, build).fate is Fate.FAILED


def comes(balancer, name, weight):
    """Somebody else adds a back end."""
    balancer.back_ends[name] = BackEnd(weight, 0, 0, 0, 0.0)
    balancer.capacities[name] = 100.0


def test_a_newcomer_is_told_before_it_is_changed():
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    balancer.set("d", weight=0)
    resource = process(balancer, clock)
    run(resource, balancer, clock)
    before = resource.found_more
    comes(balancer, "e", 60)
    balancer.set("a", up=False)
    resource.apply_control(1)  # e is taken for in use, and nobody knows of it yet
    assert (balancer.weights["e"], resource.found_more) == (60, before + 1)
    assert [name for name in "abc" if balancer.weights[name]] in (
        ["b"],
        ["c"],
    )
    assert resource.snapshot()["weights"] == {"a": 100, "b": 100, "c": 100, "e": 60}
    balancer.set("d", weight=70)  # put into service
    run(resource, balancer, clock, 1)
    assert (balancer.weights["d"], resource.found_more) == (70, before + 2)
    kept = resource.snapshot()
    assert kept["weights"] == {"a": 100, "b": 100, "c": 100, "d": 70, "e": 60}
    run(resource, balancer, clock, 30)
    assert resource.found_more == before + 2
    assert balancer.weights["d"] != 70
    assert balancer.weights["e"] != 60
    LoadBalancerResource.again({"balancer": balancer}, kept).restore(kept)
    assert balancer.weights == FOUND | {"d": 70, "e": 60}


def test_the_others_are_steered_while_a_newcomer_is_told():
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    resource = process(balancer, clock)
    run(resource, balancer, clock, 10)
    balancer.serve(250.0)
    balancer.set("b", failed=balancer.back_ends["b"].ended)
    comes(balancer, "e", 60)
    clock.now += 1.0
    resource.measure_state()
    assert (balancer.weights["b"], balancer.weights["e"]) == (0, 60)


def test_what_a_restart_has_brought_with_another_weight_is_told_too():
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    resource = process(balancer, clock)
    run(resource, balancer, clock)
    before = resource.found_more
    balancer.run = "2"
    for name in CAPACITIES:
        balancer.set(name, weight=50 if name == "a" else 100)
    run(resource, balancer, clock, 1)
    assert (balancer.weights["a"], resource.found_more) == (50, before + 1)
    assert resource.snapshot()["weights"] == FOUND | {"a": 50}


def test_what_somebody_else_has_set_is_still_in_a_later_snapshot():
    """Whoever puts that back in another process overrules them, whether or not a back end has come since."""
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    resource = process(balancer, clock)
    assert resource.snapshot()["weights"] == FOUND
    run(resource, balancer, clock)
    ordered = balancer.weights["c"]
    balancer.set("c", weight=77)
    comes(balancer, "e", 60)
    run(resource, balancer, clock, 1)
    assert resource.snapshot()["weights"] == FOUND | {"e": 60}
    before = resource.found_more
    balancer.set("c", weight=ordered)
    run(resource, balancer, clock, 1)
    assert resource.found_more == before + 1
    assert resource.snapshot()["weights"] == FOUND | {"e": 60}


def test_one_that_rested_and_is_handed_over_again_is_told_before_it_is_used(caplog):
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    resource = process(balancer, clock)
    run(resource, balancer, clock, 10)
    resource.apply_control(3)
    (rests,) = (name for name, weight in balancer.weights.items() if not weight)
    balancer.set(rests, weight=77)
    run(resource, balancer, clock, 1)
    before = resource.found_more
    balancer.set(rests, weight=0)
    resource.apply_control(4)
    assert (balancer.weights[rests], resource.found_more) == (0, before + 1)
    assert f"{rests} was handed over only now" in caplog.text
    run(resource, balancer, clock, 1)
    assert balancer.weights[rests] > 0


def test_what_puts_back_steers_nothing():
    balancer = FakeBalancer(CAPACITIES)
    kept = LoadBalancerResource(balancer=balancer).snapshot()
    left = LoadBalancerResource.again({"balancer": balancer}, kept)
    with pytest.raises(SafetyError, match="but to be put back"):
        left.apply_control(3)
    assert left.get_metrics() == {}
    assert balancer.writes == []


def test_a_fresh_one_can_go_on_steering_afterwards(left):
    balancer, clock, kept = left
    fresh = process(balancer, clock, max_backends=4)
    fresh.restore(kept)
    run(fresh, balancer, clock)
    assert balancer.weights["c"] > balancer.weights["a"]
    fresh.release()
    assert balancer.weights == FOUND


def test_back_ends_that_are_gone_or_were_kept_out_are_left_alone():
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    balancer.set("a", weight=0)
    kept = process(balancer, clock).snapshot()
    assert set(kept["weights"]) == {"b", "c", "d"}
    balancer.set("c", weight=3)
    del balancer.back_ends["d"]
    process(balancer, clock).restore(kept)
    assert balancer.weights == {"a": 0, "b": 100, "c": 100}


def test_a_spare_that_is_a_back_end_already_is_told_and_never_taken_out(caplog):
    balancer, clock = FakeBalancer({**CAPACITIES, "e:1": 160.0}), Clock()
    found = balancer.weights
    resource = process(balancer, clock, spares=["e:1", "f:1"])
    assert "the spare e:1 is a back end already" in caplog.text
    assert "f:1" not in caplog.text
    assert resource.max_size == 6
    kept = resource.snapshot()
    assert kept["added"] == ["f:1"]
    resource.apply_control(6)
    assert balancer.back_ends.keys() == {*CAPACITIES, "e:1", "f:1"}
    process(balancer, clock).restore(kept)
    assert balancer.weights == found
    resource.release()
    assert balancer.weights == found


def test_a_spare_that_somebody_adds_meanwhile_is_not_taken_out(caplog):
    balancer, clock = FakeBalancer(CAPACITIES), Clock()
    resource = process(balancer, clock, spares=["e:1"])
    balancer.back_ends["e:1"] = balancer.back_ends["a"]
    with pytest.raises(ActuatorError, match="there are 5 in use, and 0 kept out or spare"):
        resource.apply_control(6)
    resource.apply_control(5)
    resource.release()
    assert balancer.weights == FOUND | {"e:1": 100}


def test_what_cannot_be_put_back_is_told(left):
    balancer, clock, kept = left
    fresh = process(balancer, clock, spares=["e:1"])
    balancer.read_only = True
    with pytest.raises(ActuatorError, match="refused"):
        fresh.restore(kept)
    balancer.read_only, balancer.gone = False, True
    with pytest.raises(SensorError):
        fresh.restore(kept)
    balancer.gone = False
    balancer.busy = {"e:1"}
    with pytest.raises(ActuatorError, match="e:1 was added and requests hold on to it"):
        fresh.restore(kept)
    assert balancer.weights == FOUND | {"e:1": 0}
    balancer.busy = set()
    fresh.restore(kept)
    assert balancer.weights == FOUND

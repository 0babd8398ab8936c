"""A load balancer under the daemon: what an operator sets by hand outlives every way to let go of it."""

from dataclasses import replace

import pytest
from resources.fake_balancer import CAPACITIES, Clock, FakeBalancer

from quantum_control.config import Mode, ResourceSection
from quantum_control.core.journal import Journal
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id
from quantum_control.daemon import steering as module
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings
from quantum_control.resources.balancer import BackEnd
from quantum_control.resources.loadbalancer import LoadBalancerResource

BY_HAND = {"a": 100, "b": 0, "c": 77, "d": 100}
"""The weights found, but for one that is drained by hand and one that is set."""


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def balancer():
    return FakeBalancer(CAPACITIES)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    assert journal.originals() == []
    journal.close()


@pytest.fixture
def steered(tmp_path, monkeypatch, journal, balancer, clock):
    """Steers the balancer with these options beside its URL."""
    audit = AuditLog(tmp_path, 65_536, 2)

    def resource(url, **options):
        return LoadBalancerResource(balancer=balancer, clock=clock, **options)

    def steering(**options):
        section = ResourceSection(kind="loadbalancer", mode=Mode.ACTIVE, options={"url": "fake"} | options)
        return Steering("web", section, Surroundings(journal, audit, {}, tmp_path, tmp_path), clock)

    monkeypatch.setattr(module, "resource_type", lambda kind: resource)
    yield steering
    audit.close()


@pytest.fixture
def steering(steered):
    return steered()


@pytest.fixture
def elastic(steered):
    return steered(min_backends=1)


def steps(steering, balancer, clock, count, rate=250.0):
    for _ in range(count):
        balancer.serve(rate)
        clock.now += 1.0
        steering.step()


def steer_and_set_by_hand(steering, balancer, clock):
    steps(steering, balancer, clock, 20)
    assert set(balancer.weights.values()) != {100}
    balancer.set("b", weight=0)
    balancer.set("c", weight=77)
    steps(steering, balancer, clock, 3)


def test_the_end_leaves_what_was_set_by_hand(steering, balancer, clock):
    steer_and_set_by_hand(steering, balancer, clock)
    steering.end()
    assert balancer.weights == BY_HAND


def test_the_end_leaves_what_was_set_by_hand_after_the_last_step(steering, balancer, clock):
    steps(steering, balancer, clock, 20)
    balancer.set("b", weight=0)
    balancer.set("c", weight=77)
    steering.end()
    assert balancer.weights == BY_HAND


def test_another_mode_leaves_what_was_set_by_hand(steering, balancer, clock):
    steer_and_set_by_hand(steering, balancer, clock)
    steering.ask_mode(Mode.OBSERVE)
    steps(steering, balancer, clock, 3)
    assert balancer.weights == BY_HAND
    steering.end()
    assert balancer.weights == BY_HAND


def test_killed_it_has_kept_what_was_found_of_a_back_end_that_came_later(steering, balancer, clock, journal):
    steps(steering, balancer, clock, 20)
    balancer.back_ends["e"] = BackEnd(60, 0, 0, 0, 0.0)
    balancer.capacities["e"] = 100.0
    steps(steering, balancer, clock, 20)
    assert balancer.weights["e"] != 60
    (original,) = journal.originals()
    killed = replace(original, writer=Writer(1, 999_999_999, boot_id()))
    outcome = recover(
        journal, killed, lambda kept: LoadBalancerResource.again({"balancer": balancer}, kept.snapshot)
    )
    assert balancer.weights == dict.fromkeys(CAPACITIES, 100) | {"e": 60}
    assert (outcome.fate, outcome.detail) == (Fate.RESTORED, "the whole setting")
    steering.end()


def test_a_roll_back_comes_off_where_somebody_has_removed_a_back_end(elastic, balancer, clock):
    steps(elastic, balancer, clock, 80, rate=60.0)
    assert sum(weight > 0 for weight in balancer.weights.values()) == 1
    del balancer.back_ends["a"]
    elastic.ask_roll_back()
    steps(elastic, balancer, clock, 3)
    assert elastic.unreturned == ""
    assert balancer.weights == {"b": 100, "c": 100, "d": 100}
    elastic.end()


def test_a_roll_back_leaves_what_was_set_by_hand_also_where_steering_goes_on(steering, balancer, clock):
    steer_and_set_by_hand(steering, balancer, clock)
    steering.ask_roll_back()
    steps(steering, balancer, clock, 3)
    assert balancer.weights == BY_HAND
    steering.resume()
    steps(steering, balancer, clock, 30)
    assert balancer.weights["b"] == 0
    assert balancer.weights["c"] == 77
    assert balancer.weights["a"] != 100
    steering.end()
    assert balancer.weights == BY_HAND

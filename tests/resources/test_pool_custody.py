"""Whose size it is: sizes set by somebody else, orders whose answer was lost, and the end of it all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from resources.test_connections import Pool, loaded

from quantum_control.core.controller import QuantumController
from quantum_control.core.errors import ActuatorError
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled
from quantum_control.resources.connections import ConnectionPoolResource


class Remote(Pool):
    """A pool whose answers may be lost on the way."""

    answers = True

    def resize(self, size, /):
        super().resize(size)
        if not self.answers:
            raise ActuatorError("no whole answer within 3 s")

    def set_by_hand(self, size):
        self.now = replace(self.now, size=size)


@pytest.fixture
def pool():
    return Remote()


@pytest.fixture
def now():
    return [0.0]


@pytest.fixture
def resource(pool, now):
    return ConnectionPoolResource(pool, clock=lambda: now[0])


def test_a_size_that_was_taken_though_the_answer_was_lost_is_ours(pool, resource, caplog):
    pool.answers = False
    with pytest.raises(ActuatorError):
        resource.apply_control(13)
    pool.answers = True
    pool.passes()
    assert resource.measure_state().size == 13
    assert "whose answer was lost" in caplog.text
    assert resource.get_metrics()["set_by_hand"] == 0.0
    resource.apply_control(12)
    assert pool.now.size == 12


def test_a_size_that_was_taken_though_the_answer_was_lost_is_put_back_in_the_end(pool, resource):
    pool.answers = False
    with pytest.raises(ActuatorError):
        resource.apply_control(13)
    pool.answers = True
    resource.release()
    assert pool.now.size == 10


def test_an_order_may_come_into_force_after_the_one_before_it_did_not(pool, resource):
    pool.answers = False
    for size in (13, 14):
        with pytest.raises(ActuatorError):
            resource.apply_control(size)
    pool.answers = True
    pool.set_by_hand(13)  # the other side had hung, and takes up what was sent to it
    resource.measure_state()
    assert resource.get_metrics()["set_by_hand"] == 0.0


def test_once_an_order_succeeds_a_size_that_was_lost_before_is_somebody_elses(pool, resource):
    pool.answers = False
    with pytest.raises(ActuatorError):
        resource.apply_control(13)
    pool.answers = True
    resource.apply_control(12)
    pool.set_by_hand(13)
    resource.measure_state()
    assert resource.get_metrics()["set_by_hand"] == 1.0


def test_what_somebody_else_has_set_is_not_overwritten_by_what_was_found(pool, resource, now):
    kept = resource.snapshot()
    resource.apply_control(12)
    pool.set_by_hand(7)  # after the last measurement
    resource.restore(kept)
    assert pool.now.size == 7
    now[0] = 301.0
    resource.restore(kept)  # left alone no longer, but nothing else was ordered since
    assert pool.now.size == 7
    resource.apply_control(12)
    resource.restore(kept)
    assert pool.now.size == 10


def test_ordering_what_somebody_else_has_set_does_not_make_it_ours(pool, resource):
    kept = resource.snapshot()
    resource.apply_control(12)
    pool.set_by_hand(7)
    resource.apply_control(7)
    resource.restore(kept)
    assert pool.now.size == 7


def test_the_daemons_orderly_end_leaves_what_somebody_else_has_set(pool, resource, tmp_path):
    journal = Journal(tmp_path / "journal")
    steered = Journalled(resource, journal, "pool", "connections", {})
    steered.measure_state()
    steered.apply_control(12)
    pool.set_by_hand(7)
    steered.put_back()
    assert pool.now.size == 7
    assert not journal.originals()


def test_stopping_a_controller_says_that_somebody_else_has_set_the_size_and_leaves_it(pool, resource):
    controller = QuantumController(resource)
    for _ in range(100):
        pool.passes(**loaded(0))
        controller.optimize()
    assert controller.size > 10
    pool.set_by_hand(7)
    with pytest.raises(ActuatorError, match="set to 7 by somebody else and is left alone"):
        controller.stop()
    resource.release()
    assert pool.now.size == 7

"""What is put back is seen to be back, also where measuring steers, as a load balancer sets its weights."""

import json
from dataclasses import replace

import pytest
from doubles import Pool
from filed import FileResource, written

from quantum_control import ActuatorError
from quantum_control.core.errors import GoneError
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled


class Balancing(FileResource):
    """Sets a weight at each measurement, unless it only looks; the weights are in the file."""

    def __init__(self, path):
        super().__init__(path)
        self.steers_while_measuring = True

    def measure_state(self):
        if self.steers_while_measuring:
            written(self.path, str(int(self.path.read_text(encoding="ascii")) + 1))
        return super().measure_state()

    def snapshot(self):
        return {"weight": int(self.path.read_text(encoding="ascii"))}

    def restore(self, snapshot):
        written(self.path, str(snapshot["weight"]))


@pytest.fixture
def balancing(tmp_path):
    path = tmp_path / "weights"
    path.write_text("5", encoding="ascii")
    return Balancing(path)


@pytest.fixture
def journal(tmp_path):
    kept = Journal(tmp_path / "journal.sqlite")
    yield kept
    kept.close()


def test_what_it_found_is_kept_before_its_first_measurement_changes_anything(balancing, journal):
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    steered.measure_state()
    assert balancing.snapshot() == {"weight": 5}
    (original,) = journal.originals()
    assert json.loads(json.dumps(dict(original.snapshot))) == {"weight": 5}
    steered.measure_state()
    assert balancing.snapshot() == {"weight": 6}
    steered.put_back()
    assert balancing.snapshot() == {"weight": 5}
    assert journal.originals() == []


def test_it_does_not_steer_where_nothing_could_be_kept(balancing, journal):
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    journal.close()
    for _ in range(2):
        with pytest.raises(ActuatorError, match="could not be written"):
            steered.measure_state()
    assert balancing.snapshot() == {"weight": 5}
    assert balancing.steers_while_measuring


def test_while_it_is_held_measuring_steers_no_longer_and_what_it_has_set_is_put_back(balancing, journal):
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    for _ in range(3):
        steered.measure_state()
    assert balancing.snapshot() == {"weight": 7}
    steered.hold()
    steered.measure_state()
    assert balancing.snapshot() == {"weight": 5}
    assert len(journal.originals()) == 1  # whoever is killed now leaves something to look after
    steered.go_on()
    steered.measure_state()
    assert balancing.snapshot() == {"weight": 6}
    steered.put_back()
    assert balancing.snapshot() == {"weight": 5}


def test_a_hold_that_failed_is_tried_again(balancing, journal):
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    for _ in range(3):
        steered.measure_state()
    restore, balancing.restore = balancing.restore, None
    with pytest.raises(ActuatorError):
        steered.hold()
    balancing.restore = restore
    steered.hold()
    assert balancing.snapshot() == {"weight": 5}


def test_it_is_put_back_by_the_object_that_took_the_snapshot_which_may_know_of_hands(balancing, journal):
    taken, put_back = [], []
    balancing.snapshot = lambda: taken.append({"weight": 5}) or dict(taken[-1])
    balancing.restore = put_back.append
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    steered.measure_state()
    steered.measure_state()
    steered.hold()
    steered.go_on()
    steered.put_back()
    assert (len(taken), put_back) == (1, taken * 2)


class Joined(Balancing):
    """A balancer that others may join; what has just come it leaves as it is until it is called again."""

    def __init__(self, path):
        super().__init__(path)
        self.joined = []
        self.found_more = 0

    def join(self, name):
        self.joined.append(name)
        self.found_more += 1

    def snapshot(self):
        return {"weight": 5, "joined": list(self.joined)}


@pytest.fixture
def joined(balancing):
    return Joined(balancing.path)


def test_more_that_is_found_while_its_orders_are_in_force_is_kept_before_it_is_called_again(joined, journal):
    steered = Journalled(joined, journal, "weights", "balancing", {})
    steered.measure_state()
    steered.apply_control(8)
    (before,) = journal.originals()
    seen = []
    measure, apply = joined.measure_state, joined.apply_control
    joined.measure_state = lambda: seen.append(journal.originals()) or measure()
    joined.apply_control = lambda size: seen.append(journal.originals()) or apply(size)
    for name, call in (("a", steered.measure_state), ("b", lambda: steered.apply_control(7))):
        joined.join(name)
        call()
    assert [original.snapshot["joined"] for (original,) in seen] == [["a"], ["a", "b"]]
    (after,) = journal.originals()
    assert replace(after, snapshot=before.snapshot) == replace(before, ours=(7, 8))
    steered.put_back()
    assert journal.originals() == []


def test_where_more_cannot_be_kept_nothing_is_steered_and_the_way_back_stays_open(joined, journal):
    steered = Journalled(joined, journal, "weights", "balancing", {})
    steered.measure_state()
    steered.apply_control(8)
    joined.join("a")
    journal.close()
    for call in (steered.measure_state, lambda: steered.apply_control(9)):
        with pytest.raises(ActuatorError, match="what was found since of weights could not be written"):
            call()
    assert joined.path.read_text(encoding="ascii") == "8"
    steered.apply_control(5)
    assert joined.path.read_text(encoding="ascii") == "5"


def test_a_hold_where_measuring_does_not_steer_does_nothing(balancing, journal):
    balancing.steers_while_measuring = False
    steered = Journalled(balancing, journal, "weights", "balancing", {})
    steered.measure_state()
    steered.hold()
    steered.go_on()
    assert not balancing.steers_while_measuring
    assert balancing.snapshot() == {"weight": 5}


# ---- seen to be back -----------------------------------------------------------------------------


def changed(pool, journal):
    """The pool, whose size was changed from 10 to 12."""
    resource = Journalled(pool, journal, "web", "pool", {})
    resource.measure_state()
    resource.apply_control(12)
    return resource


def test_an_original_that_is_accepted_and_not_taken_stays_in_the_journal(journal):
    pool = Pool(10)
    resource = changed(pool, journal)
    taken, pool.apply_control = pool.apply_control, lambda size: None
    with pytest.raises(ActuatorError, match="original size 10 of web could not be restored: 12 is in force"):
        resource.put_back()
    assert len(journal.originals()) == 1
    pool.apply_control = taken
    resource.put_back()
    assert (pool.size, journal.originals()) == (10, [])


def test_a_sensor_that_fails_does_not_keep_an_original_from_being_back(journal):
    pool = Pool(10)
    resource = changed(pool, journal)
    pool.broken_measuring = RuntimeError("gone")
    resource.put_back()
    assert (pool.size, journal.originals()) == (10, [])


def test_what_has_ended_meanwhile_is_struck_out(journal):
    pool = Pool(10)
    resource = changed(pool, journal)
    pool.broken_measuring = pool.broken_applying = GoneError("ended")
    resource.put_back()
    assert journal.originals() == []

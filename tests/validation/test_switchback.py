"""A resource of one's own in blocks: held as it was found, steered by the daemon's parts, put back."""

import json
import logging
from typing import ClassVar

import pytest
from filed import FileResource, written

from quantum_control.config import ResourceSection
from quantum_control.core.errors import ActuatorError, ConfigError
from quantum_control.core.journal import Journal
from quantum_control.daemon import steering as module
from quantum_control.daemon.audit import AuditLog
from quantum_control.daemon.steering import Steering
from quantum_control.daemon.surroundings import Surroundings
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.experiment import BlockFailedError, EndedEarlyError, Experiment, mode
from quantum_control.validation.own_plan import only, prepare
from quantum_control.validation.rails import Rails
from quantum_control.validation.switchback import OwnBed, UnmeasuredError

TURN = Turn.of(1, RUN, 0, 1)


class Queue(FileResource):
    """Demand that alternates around 50 on a size in a file; broken, blind or erring if told to."""

    broken = blind = ""
    hand = 0
    metrics: ClassVar = {}
    measured = 0

    def __init__(self, path):
        super().__init__(path)

    def measure_state(self):
        if Queue.blind:
            raise OSError(Queue.blind)
        Queue.measured += 1
        self.demand = 48.0 + 4.0 * (Queue.measured % 2)
        if Queue.hand:
            written(self.path, str(Queue.hand))
        return super().measure_state()

    def apply_control(self, new_size):
        if Queue.broken:
            raise OSError(Queue.broken)
        super().apply_control(new_size)

    def get_metrics(self):
        return {name: value(self) if callable(value) else value for name, value in Queue.metrics.items()}

    @property
    def size(self):
        return int(self.path.read_text(encoding="ascii"))


class Runaway(Queue):
    """Demand that grows with the size: a pool past its knee that tells nobody."""

    def measure_state(self):
        state = super().measure_state()
        return type(state).from_demand(state.size * (2.0 + 0.1 * (Queue.measured % 2)), size=state.size)


class Calm(Queue):
    """Demand of 4 and 5 by turns, on which a size of 10 is more than it takes."""

    def measure_state(self):
        state = super().measure_state()
        return type(state).from_demand(4.0 + Queue.measured % 2, size=state.size)


class Weights(Queue):
    """Steers while it is measured, as a load balancer does; the weight is in a file beside."""

    def __init__(self, path):
        super().__init__(path)
        self.steers_while_measuring = True
        self.weight = self.path.with_suffix(".weight")
        if not self.weight.exists():
            written(self.weight, "1")

    def measure_state(self):
        if self.steers_while_measuring:
            written(self.weight, "7")
        return super().measure_state()

    def snapshot(self):
        return {"size": self.size, "weight": self.weight.read_text(encoding="ascii")}

    def restore(self, snapshot):
        written(self.path, str(snapshot["size"]))
        written(self.weight, snapshot["weight"])


class Place:
    def __init__(self, folder, kind):
        self.folder = folder
        self.path = folder / "size"
        self.path.write_text("10", encoding="ascii")
        self.journal = Journal(folder / "journal.db")
        self.audit = AuditLog(folder, 65_536, 2)
        self.kind = kind
        self.now = 0.0
        self.sizes = []

    def clock(self):
        return self.now

    def rest(self, seconds):
        self.now += seconds
        self.sizes.append(self.size)

    def steering(self, **settings):
        section = ResourceSection(
            kind="connections",
            mode="active",
            options={"path": str(self.path)},
            **{"max_size": 200} | settings,
        )
        around = Surroundings(self.journal, self.audit, {}, self.folder / "locks", self.folder)
        return Steering("web", section, around, self.clock)

    def bed(self, steering=None, **settings):
        steering = steering or self.steering(**settings)
        return OwnBed({"interval": 1.0, "wash_in": 10.0, "seconds": 30.0}, steering, self.rest, self.clock)

    def experiment(self, bed, reported=(), **how):
        (self.folder / "config.toml").write_text(
            '[resources.web]\nkind = "connections"\nmode = "active"\noptions = { dsn = "" }\n',
            encoding="ascii",
        )
        own = prepare(self.folder / "config.toml", None, self.folder / "out")
        plan = only(own.plan, "web", reported)
        of = plan.of("web")
        rails = Rails(plan, of, "steered", "held", 0.05)
        return Experiment(plan, "web", mode(of, **how), bed, self.folder / "out" / "web", rails.take)

    @property
    def size(self):
        return int(self.path.read_text(encoding="ascii"))


def played(bed, *steps):
    """Look, then play arms by their names, and do what is no name in between."""
    bed.look()
    return [bed.run(step, TURN) if isinstance(step, str) else step() for step in steps]


def told(**changed):
    """Change what the resource does, as a step of `played`."""
    return lambda: [setattr(Queue, name, value) for name, value in changed.items()]


def of_experiment(place, bed, pairs, *steps):
    experiment = place.experiment(bed, bed.look())
    for step in steps:
        step()
    return experiment.run(pairs, lambda line: None)


@pytest.fixture
def place(tmp_path, monkeypatch, request):
    kind = getattr(request, "param", Queue)
    monkeypatch.setattr(module, "resource_type", lambda name: kind)
    for name, value in {"broken": "", "blind": "", "hand": 0, "metrics": {}, "measured": 0}.items():
        monkeypatch.setattr(Queue, name, value)
    place = Place(tmp_path, kind)
    yield place
    place.audit.close()
    place.journal.close()


def test_a_look_changes_nothing_and_says_what_is_reported(place):
    Queue.metrics = {"throughput": 5.0, "wait_seconds": float("nan"), "whatever": 1.0}
    with place.bed() as bed:
        assert bed.look() == {"throughput"}
        assert bed.original == 10
        assert set(place.sizes) == {10}
        assert place.journal.originals() == []


def test_held_blocks_are_at_the_original_size_and_steered_ones_are_steered(place):
    with place.bed() as bed:
        bed.look()
        for arm, sizes in {"held": (10, 10), "steered": (50, 80), "held again": (10, 10)}.items():
            block = bed.run(arm, TURN)
            low, high = sizes
            assert low <= block.metrics["size"] <= high
            assert block.steps == 40
            assert len(block.course) == 30
    assert place.size == 10
    assert place.journal.originals() == []


def test_cost_is_that_of_the_configured_objective(place):
    with place.bed(objective={"waiting": 2.0, "size": 0.5, "change": 0.0}) as bed:
        bed.look()
        held = bed.run("held", TURN).metrics
    # Demand is 48 and 52 by turns at a size of 10.
    assert held["backlog"] == pytest.approx(40.0)
    assert held["cost"] == pytest.approx(2.0 * 40.0 + 0.5 * 10.0)
    assert held["changes"] == 0.0


def test_the_metrics_of_the_resource_are_means_over_the_block(place):
    Queue.metrics = {"throughput": lambda resource: float(resource.size), "errors": 0.5}
    with place.bed() as bed:
        bed.look()
        held, steered = (bed.run(arm, TURN).metrics for arm in ("held", "steered"))
    assert (held["throughput"], held["errors"]) == (10.0, 0.5)
    assert steered["throughput"] == pytest.approx(steered["size"])


def test_what_the_control_costs_is_told_of_every_block(place):
    with place.bed() as bed:
        bed.look()
        block = bed.run("steered", TURN)
    assert block.control_cpu > 0.0
    assert 5_000 < block.control_memory < 5_000_000


def test_the_original_is_on_the_disk_before_the_first_change_and_stays_until_the_end(place):
    seen = []

    def rest(seconds):
        place.now += seconds
        seen.append((place.size, [each.size for each in place.journal.originals()]))

    bed = OwnBed({"interval": 1.0, "wash_in": 10.0, "seconds": 30.0}, place.steering(), rest, place.clock)
    with bed:
        bed.look()
        for arm in ("steered", "held", "steered"):
            bed.run(arm, TURN)
    assert any(size != 10 for size, _ in seen)
    assert all(kept == [10] for size, kept in seen if size != 10)
    assert place.size == 10


@pytest.mark.parametrize("place", [Weights], indirect=True)
def test_what_measuring_steers_is_put_back_in_held_blocks_too(place):
    weight = place.path.with_suffix(".weight")

    def content():
        return weight.read_text(encoding="ascii")

    with place.bed() as bed:
        bed.look()
        bed.run("steered", TURN)
        assert content() == "7"
        bed.run("held", TURN)
        assert (content(), place.size) == ("1", 10)
        bed.run("steered", TURN)
        assert content() == "7"
    assert (content(), place.size) == ("1", 10)


def test_a_whole_experiment_finds_what_steering_is_worth(place):
    with place.bed() as bed:
        records = place.experiment(bed, bed.look()).run(4, lambda line: None)
    held, steered = (
        [row.metrics["cost"] for row in records.rows if row.arm == arm] for arm in ("held", "steered")
    )
    assert len(held) == len(steered) == 4
    assert max(steered) < min(held)
    assert place.size == 10


@pytest.mark.parametrize("place", [Runaway], indirect=True)
def test_steering_that_hurts_is_ended_with_the_original_back(place):
    with pytest.raises(EndedEarlyError, match="steering does harm: cost is"), place.bed() as bed:
        of_experiment(place, bed, 1000)
    assert place.size == 10
    assert place.journal.originals() == []
    rows = (place.folder / "out" / "web" / "blocks.csv").read_text(encoding="ascii").splitlines()
    assert 40 <= len(rows) - 1 < 100  # what was measured until then is kept


def test_steering_that_brings_errors_is_ended_with_the_original_back(place):
    Queue.metrics = {"errors": lambda resource: 3.0 if resource.size > 10 else 0.0}
    with pytest.raises(EndedEarlyError, match="errors have risen"), place.bed(roll_back=False) as bed:
        of_experiment(place, bed, 1000)
    assert place.size == 10


@pytest.mark.parametrize("place", [Calm], indirect=True)
def test_the_daemons_own_roll_back_ends_it_before_the_block_is_over(place):
    Queue.metrics = {"errors": lambda resource: 3000.0 if resource.size != 10 else 0.0}
    with pytest.raises(EndedEarlyError, match="the daemon's own watch"), place.bed() as bed:
        of_experiment(place, bed, 1000)
    assert place.size == 10


def test_an_open_circuit_ends_it_at_once_with_the_original_back(place):
    bed, sizes = place.bed(max_failures=3), []
    with pytest.raises(EndedEarlyError, match=r"circuit opened: 3 failures in a row.*gone"), bed:
        played(bed, "steered", lambda: sizes.append(place.size), told(blind="gone"), "steered")
    assert sizes[0] > 10
    assert place.size == 10


def test_a_size_set_by_hand_ends_it_and_is_left(place):
    with pytest.raises(EndedEarlyError, match="somebody else has set size 77"), place.bed() as bed:
        played(bed, "steered", told(hand=77), "steered")
    assert place.size == 77


def test_a_block_of_which_too_little_was_measured_is_not_one(place):
    with place.bed(max_failures=1000) as bed:
        played(bed, told(blind="gone"))
        with pytest.raises(UnmeasuredError, match="only 0 of 30 intervals"):
            bed.run("held", TURN)


def test_pairs_that_fail_again_and_again_end_the_run(place):
    with pytest.raises(BlockFailedError, match="failed 3 times"), place.bed(max_failures=1000) as bed:
        of_experiment(place, bed, 5, told(blind="gone"))


def test_an_original_that_cannot_be_put_back_is_told_and_stays_in_the_journal(place, caplog):
    caplog.set_level(logging.CRITICAL, "quantum_control")
    with pytest.raises(ActuatorError, match="locked"), place.bed() as bed:
        played(bed, "steered", told(broken="locked"), "held")
    assert [each.size for each in place.journal.originals()] == [10]


def test_what_cannot_be_begun_or_measured_is_refused_before_a_change(place, caplog):
    caplog.set_level(logging.CRITICAL, "quantum_control")
    Queue.blind = "no such thing"
    with pytest.raises(ConfigError, match=r"cannot be measured: .*no such thing"), place.bed() as bed:
        bed.look()
    Queue.blind = ""
    with place.bed() as first:
        first.look()
        with pytest.raises(ConfigError, match="steers this resource already"), place.bed() as second:
            second.look()
    assert place.size == 10


def test_a_run_is_not_taken_up_again_from_another_original(place):
    with place.bed() as bed:
        place.experiment(bed, bed.look()).run(1, lambda line: None)
    place.path.write_text("12", encoding="ascii")
    with pytest.raises(ConfigError, match="has size 12, and had 10"), place.bed() as bed:
        place.experiment(bed, bed.look()).run(2, lambda line: None)
    assert json.loads((place.folder / "out" / "web" / "calibration.json").read_text())["original"] == 10


def test_an_interrupt_in_any_block_puts_the_original_back(place):
    for after in (15, 55, 95):

        def rest(seconds, until=place.now + after):
            place.now += seconds
            if place.now > until:
                raise KeyboardInterrupt

        bed = OwnBed({"interval": 1.0, "wash_in": 10.0, "seconds": 30.0}, place.steering(), rest, place.clock)
        with pytest.raises(KeyboardInterrupt), bed:
            played(bed, "steered", "held", "steered")
        assert place.size == 10
        assert place.journal.originals() == []

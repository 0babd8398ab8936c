"""What a law has learnt outlives the process; a file that cannot be used is said so."""

import json
import logging
from collections.abc import Mapping

import pytest
from doubles import Clock, Pool

from quantum_control import ConfigError, PhysicsModel, QuantumController, ResourceState


class Counts(PhysicsModel):
    """Learns how many states it has seen."""

    name = "counts"

    def __init__(self) -> None:
        self.seen = 0

    def calculate_force(self, state: ResourceState) -> float:
        self.seen += 1
        return 0.0

    def predict_next_state(self, current: ResourceState) -> ResourceState:
        return current

    def learned(self) -> dict[str, object]:
        return {"seen": self.seen}

    def recall(self, learned: Mapping[str, object]) -> None:
        if not isinstance(learned.get("seen"), int):
            raise ConfigError("how many were seen is not known")
        self.seen = int(str(learned["seen"]))


def steered(memory, law, steps=3):
    clock = Clock()
    controller = QuantumController(Pool(), law, clock=clock, memory=memory)
    for _ in range(steps):
        clock.tick()
        controller.optimize()
    return controller


def test_what_was_learnt_is_there_after_a_restart(tmp_path):
    file = tmp_path / "pool.json"
    steered(file, Counts()).stop()
    again = Counts()
    steered(file, again, steps=0)
    assert again.seen == 3


def test_a_tuned_law_goes_on_with_the_weights_that_it_had(tmp_path):
    file = tmp_path / "pool.json"

    def controller():
        clock = Clock()
        return clock, QuantumController(Pool(), "auto", auto_tune=True, clock=clock, memory=file)

    clock, first = controller()
    for step in range(200):
        first.resource.demand = 5.0 + 7.0 * (step % 3)
        clock.tick()
        first.optimize()
    first.stop()
    clock, second = controller()
    kept, found = first.physics.learned()["weights"], second.physics.learned()["weights"]
    assert found.keys() == kept.keys() == {"optomechanical", "parametric", "coherent"}
    for name, weights in kept.items():
        assert found[name] == pytest.approx(weights)


def test_it_is_written_now_and_then_without_stop(tmp_path):
    file = tmp_path / "pool.json"
    steered(file, Counts(), steps=600)
    assert json.loads(file.read_text())["learned"]["counts"] == {"seen": 600}


def test_another_law_leaves_what_the_first_has_learnt(tmp_path):
    file = tmp_path / "pool.json"
    steered(file, Counts()).stop()
    steered(file, "optomechanical").stop()
    again = Counts()
    steered(file, again, steps=0)
    assert again.seen == 3


def test_nothing_is_written_by_a_controller_that_has_not_stepped(tmp_path):
    file = tmp_path / "pool.json"
    steered(file, Counts(), steps=0).stop()
    assert not file.exists()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("{", "cannot be read"),
        ("[]", "not of version 1"),
        ('{"version": 2, "learned": {}}', "not of version 1"),
        ('{"version": 1}', "holds nothing"),
        ('{"version": 1, "learned": {"counts": 7}}', "is not an object"),
        ('{"version": 1, "learned": {"counts": {"seen": "x"}}}', "delete it to start anew"),
    ],
)
def test_a_file_that_is_not_ours_is_refused_and_left_alone(tmp_path, content, says):
    file = tmp_path / "pool.json"
    file.write_text(content)
    with pytest.raises(ConfigError, match=says) as refused:
        QuantumController(Pool(), Counts(), memory=file)
    assert "pool.json" in str(refused.value)
    assert file.read_text() == content


def test_a_missing_folder_is_an_error_at_once(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        QuantumController(Pool(), memory=tmp_path / "nowhere" / "pool.json")


def test_a_file_that_cannot_be_written_is_logged_once_and_the_old_one_kept(tmp_path, caplog):
    file = tmp_path / "pool.json"
    steered(file, Counts()).stop()
    before = file.read_text()
    law = Counts()
    law.learned = lambda: {"seen": float("nan")}  # JSON has no NaN
    controller = steered(file, law)
    with caplog.at_level(logging.WARNING, "quantum_control"):
        controller.stop()
        controller.stop()
    assert sum("cannot be written" in record.message for record in caplog.records) == 1
    assert file.read_text() == before
    assert [path.name for path in tmp_path.iterdir()] == ["pool.json"]


def test_a_knee_that_was_found_holds_after_a_restart_and_says_so(tmp_path):
    file = tmp_path / "pool.json"
    file.write_text('{"version": 1, "learned": {"knee": {"ceiling": 20.0, "proven": 24.0}}}')
    clock = Clock()
    pool = Pool(demand=200.0)
    pool.metrics = {"throughput": 10.0}
    controller = QuantumController(pool, clock=clock, memory=file)
    for _ in range(3):
        clock.tick()
        decision = controller.optimize()
    assert decision.allowed == 20
    assert "nothing above 20 was better" in decision.reasons[0]
    controller.stop()
    assert json.loads(file.read_text())["learned"]["knee"] == {"ceiling": 20.0, "proven": 24.0}


def test_a_knee_of_nonsense_is_refused(tmp_path):
    file = tmp_path / "pool.json"
    file.write_text('{"version": 1, "learned": {"knee": {"ceiling": "x", "proven": 1}}}')
    with pytest.raises(ConfigError, match="ceiling of 'x'"):
        QuantumController(Pool(), memory=file)

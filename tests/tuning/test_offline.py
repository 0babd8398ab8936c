import gzip
import json

import numpy as np
import pytest
from click.testing import CliRunner

from quantum_control.core.errors import ConfigError
from quantum_control.core.physics import Objective
from quantum_control.simulation.loads import LOADS
from quantum_control.tuning import offline
from quantum_control.tuning.history import read_flow


def write(path, header, rows):
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def test_a_single_column_may_have_any_name(tmp_path):
    path = write(tmp_path / "h.csv", "requests", [str(value) for value in range(300)])
    assert read_flow(path).tolist() == list(range(300))


def test_the_flow_is_demand_less_the_backlog_before(tmp_path):
    rows = ["10,8", "10,8", "9,20"] * 100
    flow = read_flow(write(tmp_path / "h.csv", "demand,size", rows))
    assert flow[:4].tolist() == [10.0, 8.0, 7.0, 10.0]


def test_gzip_is_read_too(tmp_path):
    path = tmp_path / "h.csv.gz"
    with gzip.open(path, "wt") as file:
        file.write("count\n" + "3\n" * 250)
    assert read_flow(path).sum() == 750


@pytest.mark.parametrize(
    ("header", "rows", "message"),
    [
        ("count", ["1"] * 10, "10 intervals"),
        ("count", ["1"] * 300 + ["x"], "line 302"),
        ("count", ["-1"] * 300, "line 2"),
        ("count", ["nan"] * 300, "line 2"),
        ("a,b", ["1,2"] * 300, "no column of demand among a, b"),
        ("demand,size", ["1"] * 300, "line 2"),
    ],
)
def test_a_wrong_history_is_refused_with_its_place(tmp_path, header, rows, message):
    with pytest.raises(ConfigError, match=message):
        read_flow(write(tmp_path / "h.csv", header, rows))


def test_a_missing_history_says_so(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.csv.*cannot be read"):
        read_flow(tmp_path / "none.csv")


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"count\n" + b"3\n" * 250)[:-12],
        gzip.compress(b"")[:10] + b"\xff" * 20,
        b"no gzip",
    ],
    ids=["cut off", "damaged", "something else"],
)
def test_a_file_that_cannot_be_unpacked_says_so(tmp_path, content):
    path = tmp_path / "h.csv.gz"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=r"h\.csv\.gz.*cannot be read"):
        read_flow(path)


def test_the_setting_found_is_cheaper_than_the_default_on_what_it_has_not_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(offline, "GENERATIONS", 6)
    flow = LOADS["heavy_tail"].arrivals(1, seed=3, steps=1500)[:, 0]
    path = write(tmp_path / "h.csv", "flow", [repr(float(value)) for value in flow])
    result = CliRunner().invoke(offline.command, [str(path), "--json"])
    assert result.exit_code == 0, result.output
    found = json.loads(result.output)
    assert found["held_out"] < 1.0
    assert found["trained"] < 1.0


def test_the_code_printed_makes_the_law_that_was_replayed():
    from quantum_control.physics.optomechanical import Optomechanical
    from quantum_control.physics.staffing import Staffing

    setting = offline.Setting("optomechanical", 0.6, 0.2, 0.05, 4.0, 0.9, 0.95)
    law = eval(setting.code, {"Optomechanical": Optomechanical, "Staffing": Staffing})  # noqa: S307
    assert (law.staffing.headroom, law.staffing.slack, law.agility, law.jump) == (0.6, 0.2, 0.05, 4.0)


def test_replay_of_the_default_costs_what_a_rollout_does():
    from quantum_control.core.estimation import Estimator
    from quantum_control.physics.optomechanical import Optomechanical
    from quantum_control.simulation.plants.queues import FluidQueue
    from quantum_control.simulation.rollout import rollout

    flow = LOADS["bursts"].arrivals(1, seed=3, steps=600)[:, 0]
    objective = Objective()
    law = Optomechanical.create(objective)
    column = [[law.staffing.headroom], [law.staffing.slack], [np.log10(law.agility)], [np.log10(law.jump)]]
    replayed = offline.replay(Optomechanical, np.array(column), flow, objective)
    estimator = Estimator(anticipate=law.anticipate, delay=0)
    episode = rollout(
        law,
        FluidQueue(),
        flow[:, None],
        observe=lambda state: estimator.update(state, state.time, state.commanded),
    )
    assert replayed == pytest.approx(episode.cost(), rel=1e-3)

"""From a plan to data: order, pairing, interruption, failure, resumption."""

import json
from collections import Counter

import pytest
from validation.made_bed import PLAN, MadeBed

from quantum_control.core.errors import ConfigError
from quantum_control.validation.bed import PILOT, RUN, WARM_UP, Turn
from quantum_control.validation.experiment import BlockFailedError, Experiment, mode
from quantum_control.validation.records import BLOCKS, PACKAGE, read_rows, read_samples

OF = PLAN.of("made")


def run(folder, pairs, bed=None, *, plan=PLAN, of_mode=None, tell=lambda line: None):
    bed = bed or MadeBed(OF.bed)
    chosen = of_mode or mode(OF)
    return Experiment(plan, "made", chosen, bed, folder).run(pairs, tell), bed


def test_each_pair_has_the_default_ours_and_the_others_in_turns(tmp_path):
    records, _ = run(tmp_path, 4)
    arms = [sorted(row.arm for row in records.rows if row.pair == pair) for pair in range(4)]
    assert arms == [["auto", "best fixed", "default"], ["auto", "default", "peer"]] * 2


def test_the_order_is_drawn_anew_for_each_pair_and_is_the_same_for_the_same_seed(tmp_path):
    one, _ = run(tmp_path / "one", 40)
    other, _ = run(tmp_path / "other", 40)
    order = [(row.pair, row.arm) for row in one.rows]
    assert order == [(row.pair, row.arm) for row in other.rows]
    places = Counter((row.arm, row.place) for row in one.rows)
    assert all(5 <= places["auto", place] <= 22 for place in range(3))


def test_the_resources_own_seed_is_the_one_that_draws(tmp_path):
    own = PLAN.model_copy(update={"resources": {"made": OF.model_copy(update={"seed": 8})}})
    plans = {"own": own, "plan": PLAN, "same": PLAN.model_copy(update={"seed": 8})}
    rows = {name: run(tmp_path / name, 20, plan=plan)[0].rows for name, plan in plans.items()}
    orders = {name: [(row.pair, row.arm) for row in found] for name, found in rows.items()}
    assert orders["own"] == orders["same"] != orders["plan"]


def test_all_arms_of_a_pair_get_the_same_arrivals():
    one, other = (Turn.of(7, RUN, 12, 5).arrivals().random(4).tolist() for _ in range(2))
    assert one == other
    assert Turn.of(7, PILOT, 12, 5).arrivals().random(4).tolist() != one
    assert Turn.of(7, RUN, 10, 5).conditions().random() == Turn.of(7, RUN, 14, 5).conditions().random()
    assert Turn.of(7, RUN, 10, 5).conditions().random() != Turn.of(7, RUN, 15, 5).conditions().random()


def test_an_interrupted_run_goes_on_with_the_pairs_that_are_missing(tmp_path):
    class Interrupted(MadeBed):
        def run(self, arm, turn):
            if turn.stream == RUN and turn.pair == 5 and len(self.ran) % 3 == 1:
                raise KeyboardInterrupt
            return super().run(arm, turn)

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 12, Interrupted(OF.bed))
    kept = read_rows(tmp_path, OF)
    assert {row.pair for row in kept} == set(range(5))
    records, bed = run(tmp_path, 12)
    assert records.rows[: len(kept)] == kept
    assert [row.pair for row in records.rows[::3]] == list(range(12))
    assert {pair for stream, pair, _ in bed.ran if stream == RUN} == set(range(5, 12))
    assert {pair for stream, pair, _ in bed.ran if stream == WARM_UP} == {0, 1}
    whole, _ = run(tmp_path / "whole", 12)
    assert [row.metrics for row in whole.rows] == [
        pytest.approx(row.metrics, rel=1e-5) for row in records.rows
    ]


@pytest.mark.parametrize("cut", [1, 30, 100])
def test_what_a_crash_has_left_of_a_pair_is_made_again(tmp_path, cut):
    run(tmp_path, 6)
    path = tmp_path / BLOCKS
    path.write_bytes(path.read_bytes()[:-cut])
    assert run(tmp_path, 6)[0].pairs == set(range(6))
    assert len(read_rows(tmp_path, OF)) == 18


def test_a_run_that_is_there_is_not_made_again(tmp_path):
    run(tmp_path, 6)
    _, bed = run(tmp_path, 6)
    assert bed.ran == []
    assert bed.calibrated == 0


def test_the_pilot_comes_first_and_is_kept_apart(tmp_path):
    _, bed = run(tmp_path, 4)
    streams = [stream for stream, _, _ in bed.ran]
    assert streams == [WARM_UP] * 6 + [PILOT] * 24 + [RUN] * 12
    assert len(read_rows(tmp_path / "pilot", OF)) == 24
    assert len(read_rows(tmp_path, OF)) == 12


def test_data_of_another_plan_or_mode_are_refused(tmp_path):
    run(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"plan '.*', not '"):
        run(tmp_path, 4, plan=PLAN.model_copy(update={"seed": 8}))
    with pytest.raises(ConfigError, match="mode"):
        run(tmp_path, 4, of_mode=mode(OF, aa=True))


def test_a_block_that_fails_is_made_again_with_its_whole_pair(tmp_path):
    bed = MadeBed(OF.bed)
    bed.break_at = {20: 2}
    records, _ = run(tmp_path, 22, bed)
    assert len(records.rows) == 66


def test_a_block_that_fails_again_and_again_ends_the_run_and_keeps_what_is_there(tmp_path):
    bed = MadeBed(OF.bed)
    bed.break_at = {20: 3}
    with pytest.raises(BlockFailedError, match="pair 20 failed 3 times, at last: the part is broken"):
        run(tmp_path, 22, bed)
    assert {row.pair for row in read_rows(tmp_path, OF)} == set(range(20))


def test_progress_tells_the_time_left_and_an_interval_that_holds_at_every_moment(tmp_path):
    lines = []
    run(tmp_path, 40, tell=lines.append)
    assert lines[8].startswith("pair 1 of 40, ")
    assert "min left" in lines[-1]
    low, high = (float(x) for x in lines[-1].split("[")[1].split("]")[0].split(","))
    assert low < 0.8 < high < 1.0


def test_the_columns_are_described_beside_the_data(tmp_path):
    run(tmp_path, 2)
    package = json.loads((tmp_path / PACKAGE).read_text())
    fields = package["resources"][0]["schema"]["fields"]
    head = (tmp_path / BLOCKS).read_text().splitlines()[0].split(",")
    assert [field["name"] for field in fields] == head
    assert all(field["description"] for field in fields)


def test_the_course_of_one_pair_in_so_many_is_kept(tmp_path):
    run(tmp_path, 21)
    samples = read_samples(tmp_path)
    assert {sample.pair for sample in samples} == {0, 10, 20}
    assert [(s.size, s.demand) for s in samples[:2]] == [(4.0, 3.0), (5.0, 6.0)]

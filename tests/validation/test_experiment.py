"""From a plan to data: order, pairing, interruption, failure, resumption."""

import errno
import json
import os
from collections import Counter
from dataclasses import replace

import pytest
from validation.made_bed import PLAN, MadeBed

from quantum_control.core.errors import ConfigError, QuantumControlError
from quantum_control.validation import tables
from quantum_control.validation.bed import PILOT, RUN, WARM_UP, Turn
from quantum_control.validation.columns import FIXED, LATER
from quantum_control.validation.experiment import CALIBRATION, BlockFailedError, Experiment, mode
from quantum_control.validation.machine import MACHINE
from quantum_control.validation.plan import OBSERVED
from quantum_control.validation.records import (
    BLOCKS,
    COURSES,
    FAILURES,
    PACKAGE,
    read_failures,
    read_rows,
    read_samples,
)
from quantum_control.validation.statistics import FEWEST

OF = PLAN.of("made")

AGAIN = mode(OF, aa=True)
"""Has no arm that is chosen for the run, so that a run can be made longer."""


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
    assert [stream for stream, *_ in bed.ran[:9]] == [WARM_UP] * 8 + [RUN]
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


def test_the_course_of_a_pair_that_was_cut_off_is_not_there_twice(tmp_path):
    run(tmp_path, 11)
    path = tmp_path / BLOCKS
    path.write_bytes(path.read_bytes()[:-30])  # of pair 10, whose course is kept
    run(tmp_path, 11)
    samples = [(sample.pair, sample.arm, sample.time) for sample in read_samples(tmp_path)]
    assert len(samples) == len(set(samples)) == 2 * 3 * 2


def test_data_that_cannot_be_written_end_the_run_with_what_to_do(tmp_path, monkeypatch):
    run(tmp_path, 2, of_mode=AGAIN)

    def full(path, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(tables.os, "fsync", full)
    with pytest.raises(
        QuantumControlError, match=r"datapackage.json cannot be written: No space left.*make room"
    ):
        run(tmp_path, 4, of_mode=AGAIN)
    monkeypatch.undo()
    assert json.loads((tmp_path / PACKAGE).read_text())["resources"]
    assert run(tmp_path, 4, of_mode=AGAIN)[0].pairs == set(range(4))


def test_how_late_a_load_left_is_blank_where_it_was_not_measured(tmp_path):
    class Unmeasured(MadeBed):
        def run(self, arm, turn):
            return replace(super().run(arm, turn), late=None)

    run(tmp_path, 2, Unmeasured(OF.bed))
    assert {row.late for row in read_rows(tmp_path, OF)} == {None}


def test_a_run_that_is_there_is_not_made_again(tmp_path):
    run(tmp_path, 6)
    _, bed = run(tmp_path, 6)
    assert bed.ran == []
    assert bed.calibrated == 0


@pytest.mark.parametrize("lacking", [{"phase"}, {"phase", "control_memory"}])
def test_data_of_an_older_version_are_added_to_in_its_columns(tmp_path, lacking):
    run(tmp_path, 2, of_mode=AGAIN)
    older = [column for column in FIXED if column not in lacking] + ["cost", "lost"]
    rows = tables.read(tmp_path / BLOCKS, [*FIXED, "cost", "lost"])
    kept = [older, *([row[column] for column in older] for row in rows)]
    tables.write(tmp_path / BLOCKS, tables.as_lines(kept))
    run(tmp_path, 4, of_mode=AGAIN)
    assert [row.pair for row in read_rows(tmp_path, OF)] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert [*tables.read(tmp_path / BLOCKS, [*FIXED, "cost", "lost"], LATER)[-1]] == older


def test_the_pilot_comes_first_and_is_kept_apart(tmp_path):
    _, bed = run(tmp_path, 4)
    streams = [stream for stream, _, _ in bed.ran]
    assert streams == [WARM_UP] * 8 + [PILOT] * 16 + [RUN] * 12
    assert {row.arm for row in read_rows(tmp_path / "pilot", OF)} == {"default", "auto"}
    assert len(read_rows(tmp_path, OF)) == 12


def test_its_power_is_told_before_the_run(tmp_path):
    told = []
    Experiment(PLAN, "made", mode(OF), MadeBed(OF.bed), tmp_path).run(2, told.append)
    power = next(
        number for number, line in enumerate(told) if line.startswith("Power, by a pilot of 8 pairs")
    )
    assert told[power - 1].startswith("pilot 8 of 8")
    assert told[power + 1].startswith("pair 1 of 2")


def stretches(length):
    return PLAN.model_copy(update={"resources": {"made": OF.model_copy(update={"stretch": length})}})


def test_every_arm_is_warmed_up_on_turns_of_other_stretches_in_an_order_drawn_anew(tmp_path):
    bed = MadeBed(OF.bed)
    run(tmp_path, 1, bed, plan=stretches(5).model_copy(update={"warm_up": 8, "pilot": 0}))
    warm = [(pair, arm) for stream, pair, arm in bed.ran if stream == WARM_UP]
    orders = [tuple(arm for pair, arm in warm if pair == 5 * number) for number in range(8)]
    assert len(warm) == 8 * 4
    assert {frozenset(order) for order in orders} == {frozenset(mode(OF).all)}
    assert len(set(orders)) > 1


def test_a_pilot_is_long_enough_for_its_power_and_a_plan_may_have_none(tmp_path):
    run(tmp_path / "long", 1, plan=stretches(5))
    assert len({row.stretch for row in read_rows(tmp_path / "long" / "pilot", OF)}) == OBSERVED == FEWEST
    run(tmp_path / "none", 1, plan=PLAN.model_copy(update={"pilot": 0}))
    assert not (tmp_path / "none" / "pilot").exists()


def test_what_was_calibrated_for_other_pairs_is_refused_once_there_are_pairs_and_else_made_anew(tmp_path):
    class Broken(MadeBed):
        def run(self, arm, turn):
            raise KeyboardInterrupt

    def found():
        return json.loads((tmp_path / CALIBRATION).read_text())

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, 40, Broken(OF.bed))
    assert found() == {"pairs": 40, "best_fixed": 40}
    run(tmp_path, 4)
    assert found() == {"pairs": 4, "best_fixed": 4}
    run(tmp_path, 4)
    with pytest.raises(ConfigError, match="give --pairs 4, or another --out"):
        run(tmp_path, 40)


def test_what_needs_no_search_over_the_run_may_be_made_longer(tmp_path):
    run(tmp_path, 4, of_mode=AGAIN)
    _, bed = run(tmp_path, 6, of_mode=AGAIN)
    assert json.loads((tmp_path / CALIBRATION).read_text()) == {"pairs": 0}
    assert (bed.calibrated, bed.arms) == (0, ["default", "default again"])


def test_a_run_goes_on_only_with_what_its_arrivals_depend_on(tmp_path):
    bed, other = MadeBed(OF.bed), MadeBed(OF.bed)
    bed.load = {"trace": "1998 abc"}
    run(tmp_path, 2, bed, of_mode=AGAIN)
    with pytest.raises(ConfigError, match=r"inputs.*1998 abc.*another --out"):
        run(tmp_path, 4, other, of_mode=AGAIN)
    run(tmp_path, 4, bed, of_mode=AGAIN)


def test_each_start_is_kept_with_its_versions(tmp_path):
    (tmp_path / MACHINE).write_text('{"cores": 64}')  # of a version that kept the last start alone
    for pairs in (2, 4, 4):
        run(tmp_path, pairs, of_mode=AGAIN)
    starts = json.loads((tmp_path / MACHINE).read_text())["starts"]
    assert starts[0] == {"cores": 64}
    assert len(starts) == 3
    assert all({"processor", "numpy", "psycopg_pool", "matplotlib"} <= each.keys() for each in starts[1:])
    assert {each["server"] for each in starts[1:]} == {"1.2.3"}


def test_the_plan_is_there_before_the_first_block(tmp_path):
    class Looking(MadeBed):
        def run(self, arm, turn):
            assert (tmp_path / "plan.toml").read_text() == "the plan"
            return super().run(arm, turn)

    Experiment(PLAN, "made", mode(OF), Looking(OF.bed), tmp_path, text="the plan").run(1, lambda line: None)


def test_data_of_another_plan_or_mode_are_refused(tmp_path):
    run(tmp_path, 2)
    with pytest.raises(ConfigError, match=r"plan '.*', not '"):
        run(tmp_path, 4, plan=PLAN.model_copy(update={"seed": 8}))
    with pytest.raises(ConfigError, match="mode"):
        run(tmp_path, 4, of_mode=mode(OF, aa=True))


def test_a_block_that_fails_is_made_again_with_its_whole_pair(tmp_path):
    bed = MadeBed(OF.bed)
    bed.break_at = {20: 2}
    seen = []
    again = Experiment(PLAN, "made", AGAIN, bed, tmp_path, failed=seen.append)
    assert len(again.run(22, lambda line: None).rows) == 44
    assert [(failure.pair, failure.kind, failure.reason) for failure in seen] == [
        (20, "OSError", "the part is broken")
    ] * 2
    assert read_failures(tmp_path) == [
        replace(each, time=pytest.approx(each.time, abs=0.001)) for each in seen
    ]
    told = []
    Experiment(PLAN, "made", AGAIN, bed, tmp_path, failed=told.append).run(24, lambda line: None)
    assert told == read_failures(tmp_path)


def test_a_block_that_fails_again_and_again_ends_the_run_and_keeps_what_is_there(tmp_path):
    bed = MadeBed(OF.bed)
    bed.break_at = {20: 3}
    with pytest.raises(BlockFailedError, match="pair 20 failed 3 times, at last: the part is broken"):
        run(tmp_path, 22, bed)
    assert {row.pair for row in read_rows(tmp_path, OF)} == set(range(20))
    assert len(read_failures(tmp_path)) == 3


def test_progress_tells_the_time_left_and_an_interval_that_holds_at_every_moment(tmp_path):
    lines = []
    run(tmp_path, 40, tell=lines.append)
    assert lines[9].startswith("pair 1 of 40, ")
    assert "min left" in lines[-1]
    low, high = (float(x) for x in lines[-1].split("[")[1].split("]")[0].split(","))
    assert low < 0.8 < high < 1.0


def test_the_columns_are_described_beside_the_data(tmp_path):
    run(tmp_path, 2)
    package = json.loads((tmp_path / PACKAGE).read_text())
    assert [table["path"] for table in package["resources"]] == [BLOCKS, COURSES, FAILURES]
    for table in package["resources"]:
        fields = table["schema"]["fields"]
        head = (tmp_path / table["path"]).read_text().splitlines()[0].split(",")
        assert [field["name"] for field in fields] == head
        assert all(field["description"] for field in fields)


def test_the_course_of_one_pair_in_so_many_is_kept(tmp_path):
    run(tmp_path, 21)
    samples = read_samples(tmp_path)
    assert {sample.pair for sample in samples} == {0, 10, 20}
    assert [(s.size, s.demand) for s in samples[:2]] == [(4.0, 3.0), (5.0, 6.0)]

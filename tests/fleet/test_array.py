"""Many resources in one array: the sizes that as many controllers would order."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quantum_control import QuantumController, Resource, ResourceState
from quantum_control.core import plugins
from quantum_control.core.errors import ConfigError, SensorError
from quantum_control.core.physics import Objective
from quantum_control.core.safety import GuardSettings
from quantum_control.fleet.array import PHASES, ResourceArray
from quantum_control.fleet.guard import LARGEST_SIZE, REASONS, RowGuard
from quantum_control.physics import phaselock
from quantum_control.physics.parametric import Parametric
from quantum_control.tuning.ladder import Ladder

NAN = float("nan")


class Told(Resource):
    """Measures what it is told: a demand that is nan cannot be measured."""

    def __init__(self, size, least, most):
        self.size, self.min_size, self.max_size = size, least, most
        self.demand = NAN

    def measure_state(self):
        if self.demand != self.demand:
            raise SensorError("no answer")
        return ResourceState(self.demand / self.size - 1.0, size=self.size)

    def apply_control(self, new_size):
        self.size = new_size

    def get_metrics(self):
        return {}


def phased(name, chunk):
    """A law that does now what others do now and then, as the rows of that chunk do."""
    law = plugins.law(name, Objective())
    law.phase = chunk % PHASES
    return law


class Pair:
    """The same resources under controllers of their own and in an array."""

    def __init__(self, sizes, least, most, guards, law, tuned, **options):
        self.now = 0.0
        self.resources = [Told(*row) for row in zip(sizes, least, most, strict=True)]
        self.controllers = [
            QuantumController(
                resource,
                phased(law, row // options.get("chunk", len(sizes))),
                tuned,
                clock=lambda: self.now,
                guard=guard,
                max_failures=3,
                interval=2.0,
            )
            for row, (resource, guard) in enumerate(zip(self.resources, guards, strict=True))
        ]
        limits = {
            name: [getattr(guard, name) for guard in guards]
            for name in ("slew_up", "slew_down", "dead_band", "hysteresis")
        }
        guard = RowGuard(least, [LARGEST_SIZE if bound is None else bound for bound in most], **limits)
        self.array = ResourceArray(
            len(sizes), law, tuned, guard=guard, max_failures=3, interval=2.0, **options
        )

    def step(self, demands, seconds=2.0):
        """Sizes and reasons of both, and whether any wish lies so close to the middle of two sizes that the
        last bit of an exponential decides."""
        self.now += seconds
        sizes = [resource.size for resource in self.resources]
        for resource, demand in zip(self.resources, demands, strict=True):
            resource.demand = demand
        decisions = [controller.optimize() for controller in self.controllers]
        answer = self.array.step(self.now, demands, sizes)
        tie = any(abs(abs(d.wanted - round(d.wanted)) - 0.5) < 1e-6 * max(d.wanted, 1.0) for d in decisions)
        return [controller.size or 0 for controller in self.controllers], list(answer), tie, decisions


ROWS = 5
rows = st.lists(
    st.tuples(
        st.integers(1, 1000),
        st.integers(1, 20),
        st.none() | st.integers(20, 2000),
        st.floats(1.05, 20.0),
        st.floats(1.05, 20.0),
        st.sampled_from([0.0, 0.05, 0.3]),
        st.sampled_from([0.0, 0.1]),
    ),
    min_size=ROWS,
    max_size=ROWS,
)
demand = st.floats(0.0, 1e6) | st.integers(0, 300).map(float) | st.just(NAN)
steps = st.lists(
    st.tuples(st.lists(demand, min_size=ROWS, max_size=ROWS), st.sampled_from([2.0, 2.0, 2.0, 0.7, 5.0])),
    min_size=1,
    max_size=25,
)


def pair_of(given_rows, law, tuned=False, **options):
    sizes, least, most, up, down, band, more = zip(*given_rows, strict=True)
    guards = [GuardSettings(*each) for each in zip(up, down, band, more, strict=True)]
    return Pair(sizes, least, most, guards, law, tuned, **options)


@pytest.mark.parametrize("law", ["optomechanical", "coherent"])
@given(given_rows=rows, course=steps)
@settings(max_examples=60, deadline=None)
def test_the_array_orders_what_single_controllers_order(law, given_rows, course):
    pair = pair_of(given_rows, law, chunk=2)
    for demands, seconds in course:
        singly, together, tie, decisions = pair.step(demands, seconds)
        assume(not tie)
        assert together == singly
        for row, decision in enumerate(decisions):
            if demands[row] == demands[row] and not pair.array.suspended[row]:
                assert pair.array.reason(row) == "; ".join(decision.reasons)


@pytest.mark.parametrize(
    ("law", "tuned"),
    [("parametric", False), ("auto", False), ("optomechanical", True), ("coherent", True), ("auto", True)],
)
def test_laws_that_remember_order_the_same_in_an_array(law, tuned):
    rng = np.random.default_rng(3)
    plain = (20, 1, None, 10.0, 2.0, 0.0, 0.0)
    pair = pair_of([plain] * 3, law, tuned, chunk=2)
    levels = 40.0 + 30.0 * np.sin(np.arange(400) / 8.0)[:, None] * [1.0, 0.5, 0.0]
    differing = 0
    for step in range(400):
        singly, together, _, _ = pair.step([float(d) for d in rng.poisson(levels[step])])
        differing += singly != together
        for resource, size in zip(pair.resources, singly, strict=True):
            assert abs(size - int(together[pair.resources.index(resource)])) <= 1
    # A wish in the middle of two sizes may fall to either side; the same law goes on from there.
    assert differing <= 4


def test_rows_of_one_chunk_order_what_a_controller_orders_that_was_told_of_no_phase():
    rng = np.random.default_rng(4)
    resource = Told(20, 1, None)
    now = 0.0
    controller = QuantumController(resource, auto_tune=True, clock=lambda: now)
    array = ResourceArray(1, auto_tune=True)
    for _ in range(150):
        now += 1.0
        size, resource.demand = resource.size, float(rng.poisson(40.0))
        controller.optimize()
        assert array.step(now, resource.demand, size)[0] == controller.size


@pytest.mark.parametrize(("law", "tuned"), [("parametric", False), ("optomechanical", True)])
def test_what_laws_do_now_and_then_the_chunks_do_in_turn(law, tuned, monkeypatch):
    """No interval bears the detections, or the fits, of all rows."""
    array = ResourceArray(8, law, tuned, chunk=1)
    done = []
    for place, name in ((phaselock, "detect"), (Ladder, "_fit")):
        monkeypatch.setattr(place, name, _noting(getattr(place, name), done))
    at_once = []
    for step in range(400):
        array.step(float(step), 40.0 + 5.0 * np.sin(step / 7.0), 50.0)
        at_once.append(len(done))
        done.clear()
    assert sum(at_once[300:]) >= 8
    assert max(at_once[300:]) == 1


def test_laws_are_told_of_intervals_in_which_no_row_was_measured():
    law = Parametric()
    told = []
    law.missed = told.append
    array = ResourceArray(2, law, interval=5.0)
    for now, demand in (
        (0.0, 10.0),
        (5.0, [10.0, NAN]),
        (10.0, NAN),
        (15.0, NAN),
        (20.0, 10.0),
        (40.0, 10.0),
    ):
        array.step(now, demand, 20.0)
    assert told == [2, 3]


def _noting(work, done):
    def noted(*args):
        done.append(work)
        return work(*args)

    return noted


def test_a_row_that_is_not_measured_keeps_its_size_and_is_handed_back_after_some():
    array = ResourceArray(2, max_failures=2)
    array.step(1.0, [30.0, 30.0], [10, 10])
    moved = array.step(2.0, [30.0, 30.0])
    assert moved[0] == moved[1] > 10
    after = array.step(3.0, [30.0, NAN])
    assert after[1] == moved[1]
    assert array.reason(1) == "not measured"
    after = array.step(4.0, [30.0, NAN])
    assert after[1] == 10
    assert list(array.suspended) == [False, True]
    array.step(5.0, [30.0, 30.0])
    assert array.reason(1) == "handed back"
    assert array.step(6.0, [30.0, 30.0])[1] > 10


@pytest.mark.parametrize("wrong", [-1.0, float("inf"), 1e200, NAN])
def test_a_measurement_that_makes_no_sense_touches_no_other_row(wrong):
    alone, beside = ResourceArray(1), ResourceArray(2)
    for step in range(1, 20):
        usual = 10.0 + step
        assert (
            beside.step(step, [usual, wrong], [alone.sizes[0] or 10, 10])[0]
            == alone.step(step, usual, 10 if step == 1 else NAN)[0]
        )
    assert beside.sizes[1] == 0


def test_a_row_takes_part_once_its_size_was_told():
    array = ResourceArray(1)
    assert array.step(1.0, 8.0)[0] == 0
    assert array.step(2.0, 8.0, 10)[0] > 0
    assert array.original[0] == 10


def test_a_size_that_somebody_else_has_set_is_gone_on_from():
    array = ResourceArray(1)
    for step in range(1, 4):
        array.step(step, 50.0, NAN if step > 1 else 50)
    for step in range(4, 12):
        array.step(step, 500.0, 500)
    assert array.sizes[0] > 400


def test_the_clock_must_advance():
    array = ResourceArray(1)
    array.step(10.0, 50.0, 10)
    size = array.step(11.0, 50.0)
    assert array.step(11.0, 500.0) == size
    assert array.step(3.0, 500.0) == size
    assert array.step(4.0, 500.0) != size


def test_history_is_kept_and_counted():
    array = ResourceArray(3, history=4)
    for step in range(6):
        array.step(step, [step, NAN, 7.0], 10)
    assert [demand for demand, _ in array.history(0)] == [2.0, 3.0, 4.0, 5.0]
    assert all(demand != demand for demand, _ in array.history(1))
    assert array.history(2)[-1] == (7.0, 10.0)


def test_state_and_history_with_bounds_of_its_own_take_less_than_200_bytes_a_row():
    rows = 10_000
    guard = RowGuard(np.full(rows, 2), np.full(rows, 50))
    assert ResourceArray(rows, guard=guard).nbytes / rows < 200


@pytest.mark.parametrize(
    ("law", "tuned", "most"), [("optomechanical", True, 9000), ("parametric", False, 2500)]
)
def test_what_a_law_remembers_of_a_row_is_bounded(law, tuned, most):
    """The bound is the ladder's two tables of 24 x 24, or the window in which periods are looked for."""
    rows = 256
    demand = np.random.default_rng(5).poisson(40.0, (70, rows))
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        array = ResourceArray(rows, law, tuned)
        for step, flow in enumerate(demand):
            array.step(float(step), flow, 50.0)
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held / rows < most


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ({"minimum": [1, 0]}, "minimum of row 1 is wrong"),
        ({"minimum": [1, 9], "maximum": 5}, "none of them above"),
        ({"maximum": 2.5}, "whole sizes"),
        ({"slew_up": [2.0, 1.0]}, "slew_up of row 1"),
        ({"dead_band": 1.0}, "dead_band of row 0"),
        ({"hysteresis": "much"}, "a number, or an array"),
        ({"slew_down": [[2.0]]}, "shape"),
    ],
)
def test_limits_out_of_range_are_refused_with_their_row(limits, message):
    with pytest.raises(ConfigError, match=message):
        RowGuard(**limits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rows": 0}, "rows"),
        ({"rows": 2, "interval": 0.0}, "interval"),
        ({"rows": 2, "max_failures": 256}, "at most 255"),
        ({"rows": 2, "guard": RowGuard([1, 1, 1])}, "3 rows"),
        ({"rows": 2, "physics_model": "optomechanica"}, "did you mean"),
    ],
)
def test_an_array_that_cannot_be_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ResourceArray(**options)


def test_measurements_of_another_number_of_rows_are_refused():
    with pytest.raises(ConfigError, match="each of 2 rows"):
        ResourceArray(2).step(1.0, [1.0, 2.0, 3.0], 10)


def test_every_reason_has_a_text():
    assert len(set(REASONS)) == len(REASONS)

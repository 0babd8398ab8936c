"""The experiment on a real HAProxy, in small: the machinery, not the outcome."""

from __future__ import annotations

from math import exp, inf

import pytest
from integration.balanced import weights
from integration.requirements import require
from validation.small import small_experiment

from quantum_control.bench.balancers import LocalHAProxy
from quantum_control.bench.course import Course
from quantum_control.bench.steering import PEAK_MEMORY
from quantum_control.resources.balancer import open_balancer
from quantum_control.validation.bed import RUN, Turn
from quantum_control.validation.beds.loadbalancer import LoadBalancerBed
from quantum_control.validation.plan import committed, read_plan

pytestmark = pytest.mark.integration

SHORTER = {
    "stretch = 4": "stretch = 1",
    "sweep = 24 ": "sweep = 1 ",
    "seconds = 0.4": "seconds = 0.2",
}

ARMS = ["default", "best fixed", "peer", "known speeds", "auto", "watched", "unsteered"]


@pytest.fixture(autouse=True)
def _haproxy():
    require(LocalHAProxy.executable(), "haproxy is not installed; scripts/install-servers installs it")


@pytest.fixture(scope="module")
def of():
    return read_plan(committed()).of("loadbalancer")


@pytest.fixture
def bed(of):
    with LoadBalancerBed(of.bed) as bed:
        bed.prepare({"best_fixed": "leastconn, by speed weights"}, ARMS)
        yield bed


def in_force(bed, name):
    return weights(open_balancer(bed._arms[name].balancer.url))


def test_a_small_experiment_runs_from_the_plan_to_the_report(tmp_path):
    found, calibration = small_experiment("loadbalancer", SHORTER, tmp_path)
    for arm, means in found["means"].items():
        assert 0.0 < means["latency_p50"] <= means["latency_p99"], arm
        assert 0.0 <= means["failed"] < 1.0
        assert means["throughput"] > 0.0
    latencies = calibration["latency_by_candidate"]
    assert latencies[calibration["best_fixed"]] == min(latencies.values())


def test_two_servers_change_places_in_every_other_stretch_within_its_first_block(bed, of):
    usual = of.bed["speeds"]
    courses = [bed._course(Turn.of(1, RUN, pair, of.stretch)) for pair in range(3 * of.stretch)]
    changes = [pair for pair, course in enumerate(courses) if course.speeds[0] != course.speeds[1]]
    assert changes == [of.stretch, 2 * of.stretch]
    assert courses[0].speeds == (usual, usual)
    swapped = courses[of.stretch].speeds[1]
    assert sorted(swapped) == sorted(usual)
    assert sum(one != other for one, other in zip(usual, swapped, strict=True)) == 2
    assert courses[2 * of.stretch - 1].speeds == (swapped, swapped)
    assert courses[2 * of.stretch].speeds == (swapped, usual)


def test_all_arms_get_the_same_requests(bed, of):
    turn = Turn.of(1, RUN, 5, of.stretch)
    assert bed._course(turn) == bed._course(turn)
    assert bed._course(turn).due != bed._course(Turn.of(1, RUN, 6, of.stretch)).due


def test_weights_are_equal_by_speed_told_or_steered_as_the_arm_says(bed, of):
    equal = dict.fromkeys((f"s{number}" for number in range(6)), 100)
    assert in_force(bed, "auto") == equal
    by_speed = in_force(bed, "best fixed")
    for pair in range(of.stretch - 1, of.stretch + 3):
        turn = Turn.of(1, RUN, pair, of.stretch)
        for name in ARMS:
            block = bed.run(name, turn)
            assert (block.steps > 0) == (name in ("peer", "auto", "watched"))
            assert block.metrics["failed"] < 0.5
    assert in_force(bed, "default") == in_force(bed, "watched") == in_force(bed, "unsteered") == equal
    assert in_force(bed, "best fixed") == by_speed
    assert by_speed["s0"] < by_speed["s3"] < by_speed["s5"]
    speeds = dict(zip(equal, bed._course(turn).speeds[1], strict=True))
    told = in_force(bed, "known speeds")
    assert max(told, key=told.__getitem__) == max(speeds, key=speeds.__getitem__)
    assert in_force(bed, "auto") != equal
    assert in_force(bed, "peer") != equal


def test_what_is_steered_goes_on_where_it_was_and_its_time_stands_still(bed, of):
    for pair in range(3):
        bed.run("auto", Turn.of(1, RUN, pair, of.stretch))
        was, at = in_force(bed, "auto"), bed._arms["auto"].steps.clock()
        bed.run("default", Turn.of(1, RUN, pair, of.stretch))
        assert in_force(bed, "auto") == was
        assert bed._arms["auto"].steps.clock() == at


def test_the_peer_forgets_at_the_pace_of_the_bed_and_nothing_is_left_out(bed, of):
    pace = Course().interval / of.bed["interval"]
    assert of.bed["memory"] * pace == pytest.approx(PEAK_MEMORY)
    peer = bed._arms["peer"].steering
    assert peer._pull == pytest.approx(1.0 - exp(-of.bed["interval"] / of.bed["memory"]))
    assert of.late == inf
    assert bed.versions()["haproxy"].startswith("HAProxy version")


def test_a_request_without_a_good_answer_counts_as_failed_and_as_late_as_a_client_would_wait(bed, of):
    for server in range(6):
        bed._servers.become(server, mode="failing")
    metrics = bed.run("default", Turn.of(1, RUN, 0, of.stretch)).metrics
    assert metrics["failed"] == 1.0
    assert metrics["latency_mean"] == pytest.approx(2.0)
    assert metrics["throughput"] == 0.0

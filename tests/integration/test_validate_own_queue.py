"""The experiment on a real queue of the kernel, in network namespaces of our own."""

import json
import os
import signal
from pathlib import Path

import pytest
from integration.flood import Flood
from validation.own_place import OwnPlace, controller, wait_for

from quantum_control.bench.network_bed import BOTTLENECK, FRAME, NetworkBed

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
    pytest.mark.timeout(300),
]

FOUND = 1000 * FRAME
"""Bytes; far more than a bottleneck of 10 Mbit/s needs."""


@pytest.fixture
def bed():
    with NetworkBed(10e6, limit=FOUND) as bed:
        yield bed


@pytest.fixture
def place(tmp_path, bed):
    place = OwnPlace(tmp_path)
    place.resources["queue"] = {
        "kind": "buffer",
        "mode": "active",
        "interval": 0.05,
        "options": {"interface": BOTTLENECK, "netns": bed.netns},
    }
    place.write()
    return place


def test_a_few_pairs_on_a_loaded_queue(place, bed):
    with Flood(bed):
        done = place.validate("--block", 0.5, "--pairs", 3, "--json")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads(done.stdout)
    assert found["means"]["held"]["size"] == FOUND
    assert found["means"]["steered"]["size"] < FOUND
    assert found["means"]["held"]["sent"] > 0.0
    assert found["means"]["steered"]["drops"] > 0.0  # it is flooded; that does not end it
    assert bed.queue_limit() == FOUND


def test_with_both_killed_amid_a_steered_block_a_hand_puts_the_limit_back(place, bed):
    with Flood(bed), place.validating("--block", 5, "--pairs", 3) as process:
        wait_for(lambda: process.poll() is not None or bed.queue_limit() != FOUND)
        child = controller(process)
        os.kill(process.pid, signal.SIGSTOP)  # so that it does not see the other die
        os.kill(child, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        wait_for(lambda: not Path(f"/proc/{child}/exe").exists())
        assert bed.queue_limit() != FOUND
        assert "queue: restored" in place.command("restore", place.config).stdout
        assert bed.queue_limit() == FOUND

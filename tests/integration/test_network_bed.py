"""The network that benchmarks and tests are run in: real, our own, and gone afterwards."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from integration.requirements import require

from quantum_control.bench.network_bed import BOTTLENECK, CLIENT, FRAME, SERVER, NetworkBed
from quantum_control.core.errors import ConfigError, SensorError

pytestmark = [
    pytest.mark.integration,
    pytest.mark.xdist_group("kernel"),
    pytest.mark.usefixtures("network_as_found"),
]


def test_what_waits_at_the_bottleneck_is_delayed_by_the_queue_over_the_rate():
    limit = 20 * FRAME
    with NetworkBed(10e6, limit=limit) as bed, bed.probe(0.002) as probe:
        flood(bed, seconds=0.5)
        sent, delays = read(bed, probe)
    arrived = delays[np.isfinite(delays)]
    full = 8 * limit / 10e6
    assert 0.6 * full < np.percentile(arrived, 90) < 1.2 * full + 0.01
    assert sent.size == delays.size


def test_a_queue_keeps_its_limit_when_the_rate_changes():
    with NetworkBed(10e6, limit=40_000) as bed:
        bed.set_rate(100e6)
        assert bed.queue_limit() == 40_000
        assert "rate 100Mbit" in bed.router.run("tc", "qdisc", "show", "dev", BOTTLENECK)


@pytest.mark.parametrize("leaf", ["tbf bfifo limit 30000", "htb bfifo limit 30000", "htb pfifo limit 20"])
def test_a_bottleneck_may_have_a_leaf_of_its_own(leaf):
    with NetworkBed(10e6, qdisc=leaf) as bed:
        bed.set_rate(20e6)
        shown = bed.router.run("tc", "-s", "qdisc", "show", "dev", BOTTLENECK)
    assert leaf.partition(" ")[2].split()[0] in shown


def test_the_way_back_takes_as_long_as_the_distance():
    with NetworkBed(0.0, distance=0.05) as bed:
        began = time.monotonic()
        listener = bed.server.call(lambda: socket.create_server((SERVER, 7000)))
        with listener, bed.client.call(lambda: socket.create_connection((SERVER, 7000), 30.0)) as caller:
            assert time.monotonic() - began >= 0.05
            assert caller.getsockname()[0] == CLIENT


def test_iperf3_runs_through_the_bottleneck():
    with NetworkBed(10e6) as bed:
        try:
            bed.listen()
        except ConfigError as error:
            require(False, f"{error}; scripts/install-servers installs it")
        result = bed.send(1.0, streams=2, law="reno").result()
    assert 1e6 < result["end"]["sum_received"]["bits_per_second"] < 11e6


def test_an_iperf3_that_reaches_nobody_says_so():
    with NetworkBed(10e6) as bed, pytest.raises(SensorError, match="iperf3"):
        bed.send(1.0).result()


def test_a_bottleneck_of_an_unknown_kind_leaves_nothing_behind():
    with pytest.raises(ConfigError, match="tbf or an htb"), NetworkBed(qdisc="fog"):
        pass


def test_a_failure_inside_leaves_nothing_behind():
    with pytest.raises(ConfigError, match="fog"), NetworkBed(distance=0.01) as bed:
        bed.router.run("tc", "qdisc", "add", "dev", BOTTLENECK, "parent", "1:1", "fog")


def test_nothing_is_left_after_a_kill():
    code = (
        "import time\n"
        "from quantum_control.bench.network_bed import NetworkBed\n"
        "with NetworkBed(distance=0.01) as bed:\n"
        "    process = bed.server.start(['sleep', '600'])\n"
        "    print(process.pid, flush=True)\n"
        "    time.sleep(600)\n"
    )
    victim = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)  # noqa: S603
    inner = int(victim.stdout.readline())
    victim.kill()
    victim.wait()
    victim.stdout.close()
    assert gone(inner)


def gone(pid):
    """Whether the process ends, in reasonable time."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False


def flood(bed, seconds):
    """Fill the queue with datagrams for some time, a little faster than they drain."""
    sender = bed.client.call(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender:
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            for _ in range(12):
                sender.sendto(b"\0" * 1472, (SERVER, 9))
            time.sleep(0.008)


def read(bed, probe):
    """Delays that the probe has seen, once those under way have arrived."""
    time.sleep(0.1)
    return probe.delays()

"""A real daemon that steers a JVM over JMX alone, also after it was killed amid that."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest
from integration.local_jvm import MIB, flag_by_jcmd

sys.path.insert(0, str(Path(__file__).parents[1] / "daemon"))

from daemons import Place, controller, wait_for

from quantum_control.daemon.audit import read_records

pytestmark = pytest.mark.integration

pytest.importorskip("jpype", reason="JPype1 is not installed; pip install 'quantum-control[jvm]'")

OVER_JMX = True

FOUND = 400 * MIB

STEPS = 100


def test_a_daemon_that_has_put_a_jvm_back_at_its_start_steers_it_again(jvm, tmp_path):
    place = Place(tmp_path)
    place.resources["heap"] = {
        "kind": "memory",
        "mode": "active",
        "interval": 0.02,
        "deadline": 10.0,  # a busy machine is no JVM that does not answer
        "options": {"metric_source": jvm.url},
    }
    place.write()
    with place.daemon() as process:
        wait_for(lambda: flag_by_jcmd(jvm.pid) != FOUND)
        steering = controller(process)
        os.kill(process.pid, signal.SIGSTOP)  # so that it does not see the other die
        os.kill(steering, signal.SIGKILL)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    assert flag_by_jcmd(jvm.pid) != FOUND
    with place.daemon() as process:
        assert "heap: restored" in place.log()
        begun = time.time()
        # Java that was started before the fork goes on for some dozens, until it has to collect.
        wait_for(lambda: len(list(read_records(place.state, since=begun))) > STEPS)
        assert place.ask(do="status", resource="heap")["failures"] == 0
        assert flag_by_jcmd(jvm.pid) != FOUND
        process.terminate()
        assert process.wait(60) == 0
    assert flag_by_jcmd(jvm.pid) == FOUND

"""Signals are waited for, none is lost, and programs that are started can still be ended."""

import os
import signal
import subprocess
import sys

DIALOGUE = """
import os, signal, subprocess
from quantum_control.daemon.signals import Signals

watched = {signal.SIGTERM, signal.SIGHUP}
signal.pthread_sigmask(signal.SIG_BLOCK, watched)
os.kill(os.getpid(), signal.SIGHUP)  # while they are blocked
signals = Signals(watched)
print(*sorted(signals.wait(30.0)))
print(*signals.wait(0.0))
os.kill(os.getpid(), signal.SIGTERM)
print(*signals.wait(30.0))
sleeping = subprocess.Popen(["/bin/sleep", "600"])
sleeping.terminate()
print(sleeping.wait(30))
"""


def test_signals_are_caught_and_not_passed_on_as_blocked():
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", DIALOGUE], capture_output=True, text=True, check=True, env=dict(os.environ)
    )
    hup, term = int(signal.SIGHUP), int(signal.SIGTERM)
    assert done.stdout.splitlines() == [str(hup), "", str(term), str(-term)]

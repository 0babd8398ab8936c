"""What becomes of the size when the program ends without `stop()`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

STEER = """
import os, signal, sys, threading, time
from filed import FileResource
from quantum_control import QuantumController
from quantum_control.core import runner

class Hanging(FileResource):
    hangs = False

    def measure_state(self):
        if self.hangs:
            threading.Event().wait()
        return super().measure_state()

resource = Hanging(sys.argv[1], demand=50)
controller = QuantumController(resource, interval=0.01)
controller.start()

def size():
    return int(resource.path.read_text(encoding="ascii"))

while size() < 40:
    time.sleep(0.005)
"""


@pytest.fixture
def ended(tmp_path):
    """Run a program that steers, and then does as told; its exit code, the size left and what it said."""
    path = tmp_path / "size"
    path.write_text("10", encoding="ascii")

    def ended(what=""):
        done = subprocess.run(  # noqa: S603 - our own interpreter
            [sys.executable, "-c", STEER + what, str(path)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *sys.path])},
            timeout=60,
            check=False,
        )
        return done.returncode, int(path.read_text(encoding="ascii")), done.stderr

    return ended


@pytest.mark.parametrize(("what", "code"), [("", 0), ("sys.exit(3)", 3), ("raise OSError('gone')", 1)])
def test_a_program_that_ends_puts_the_original_back(ended, what, code):
    assert ended(what)[:2] == (code, 10)


def test_one_that_is_killed_does_not(ended):
    code, size, _ = ended("os.kill(os.getpid(), signal.SIGKILL)")
    assert code == -signal.SIGKILL
    assert size >= 40


def test_what_documentation_says_of_sigterm_is_an_orderly_end(ended):
    code, size, _ = ended(
        "signal.signal(signal.SIGTERM, lambda *_: sys.exit(143)); os.kill(os.getpid(), signal.SIGTERM)"
    )
    assert (code, size) == (143, 10)


def test_a_fork_of_it_that_ends_puts_nothing_back(ended):
    code, size, said = ended("""
child = os.fork()
if child == 0:
    sys.exit(0)
os.waitpid(child, 0)
left = size()
controller.stop()
sys.exit(left)
""")
    assert code >= 40, said
    assert size == 10


def test_a_step_that_hangs_keeps_no_program_from_ending(ended):
    code, size, said = ended("""
runner.EXIT_SECONDS = 0.05
resource.hangs = True
time.sleep(0.05)
""")
    assert code == 0
    assert size >= 40
    assert "not put back, a step has not come to its end" in said


def test_what_cannot_be_put_back_is_told_in_a_line(ended):
    code, _, said = ended("""
def broken(size):
    raise OSError("locked")
resource.apply_control = broken
""")
    assert code == 0
    assert "could not be restored (now" in said
    assert "Traceback" not in said

"""What becomes of a pool when its interpreter ends or its process forks."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from quantum_control.resources.adaptive import AdaptiveThreadPoolExecutor
from quantum_control.resources.executor import ResizableThreadPoolExecutor

Kind = type[ThreadPoolExecutor]


@pytest.fixture(
    params=[ThreadPoolExecutor, ResizableThreadPoolExecutor, AdaptiveThreadPoolExecutor],
    ids=lambda kind: kind.__name__,
)
def kind(request: pytest.FixtureRequest) -> Kind:
    kind: Kind = request.param
    return kind


def run_script(body: str) -> list[str]:
    done = subprocess.run(  # noqa: S603 - a script of ours
        [sys.executable, "-c", body], capture_output=True, text=True, timeout=100, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def using(kind: Kind, body: str) -> str:
    return f"from {kind.__module__} import {kind.__name__} as Pool\n{body}"


def test_the_interpreter_waits_for_the_queue(kind: Kind) -> None:
    body = """
import time
pool = Pool(2)
for n in range(6):
    pool.submit(lambda n=n: (time.sleep(0.05), print(f"{n}\\n", end="", flush=True)))
idle = Pool(2)
idle.submit(int).result()
"""
    assert sorted(run_script(using(kind, body))) == list("012345")


def test_nothing_can_be_submitted_once_the_interpreter_goes(kind: Kind) -> None:
    body = """
import time
pool = Pool(1)
def late():
    while True:
        try:
            pool.submit(int)
        except RuntimeError as error:
            print(str(error).replace(" ", "_"))
            return
        time.sleep(0.01)
pool.submit(late)
"""
    assert run_script(using(kind, body)) == ["cannot_schedule_new_futures_after_interpreter_shutdown"]


def test_the_interpreter_ends_with_tasks_held() -> None:
    script = """
import time
from concurrent.futures import ThreadPoolExecutor
from quantum_control.resources.threads import ThreadPoolResource
pool = ThreadPoolExecutor(4)
resource = ThreadPoolResource(pool=pool)
for n in range(8):
    pool.submit(lambda n=n: (time.sleep(0.01), print(f"{n}\\n", end="", flush=True)))
resource.apply_control(1)
"""
    assert sorted(run_script(script)) == list("01234567")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_can_go_on_with_the_pool() -> None:
    script = """
import os, threading, warnings
warnings.simplefilter("ignore")
from quantum_control.resources.executor import ResizableThreadPoolExecutor
pool = ResizableThreadPoolExecutor(2)
free = threading.Event()
pool.submit(free.wait); pool.submit(free.wait); pool.submit(int)
pool._crew.lock.acquire()
child = os.fork()
if not child:
    print(pool.submit(int, "8").result(30), pool.reading().waiting, flush=True)
else:
    pool._crew.lock.release()
    print(os.waitpid(child, 0)[1], flush=True)
    free.set()
"""
    assert run_script(script) == ["8", "0", "0"]

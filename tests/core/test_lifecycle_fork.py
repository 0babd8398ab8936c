"""What a controller is in a forked child while its parent steers on."""

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from filed import FileResource
from forked import in_child
from watched import LONG, NEVER, Watched, growing

from quantum_control import LifecycleError, QuantumController

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")


@pytest.fixture
def amid_a_step() -> Iterator[QuantumController]:
    """A controller whose loop's thread is inside of a step, and stays there."""
    pool, controller = growing()
    inside, release = threading.Event(), threading.Event()

    def linger() -> None:
        inside.set()
        assert release.wait(LONG)

    pool.in_applying = linger
    controller.start()
    assert inside.wait(LONG)
    yield controller
    release.set()
    pool.in_applying = lambda: None
    controller.stop()
    assert pool.applied == [20, 10]


def steered() -> tuple[Watched, QuantumController]:
    """A pool of 10 that is 20, and its controller, which rests."""
    pool, controller = growing()
    controller.start()
    assert pool.changed.wait(LONG)
    return pool, controller


def test_it_does_not_run_there(amid_a_step: QuantumController) -> None:
    def child() -> None:
        assert not amid_a_step.running
        assert amid_a_step.inherited

    assert in_child(child) == 0
    assert amid_a_step.running
    assert not amid_a_step.inherited


@pytest.mark.parametrize("restore", [True, False])
def test_stop_returns_there_though_the_fork_fell_into_a_step(
    amid_a_step: QuantumController, restore: bool
) -> None:
    assert in_child(lambda: amid_a_step.stop(restore)) == 0


def test_stop_puts_nothing_back_there() -> None:
    pool, controller = steered()

    def child() -> None:
        controller.stop()
        with pytest.raises(LifecycleError), controller:
            pass
        assert pool.applied == [20]

    assert in_child(child) == 0
    controller.stop()
    assert pool.applied == [20, 10]


def test_the_parent_steers_on_when_the_child_has_left_a_with_block(tmp_path: Path) -> None:
    path = tmp_path / "size"
    path.write_text("10", encoding="ascii")
    with QuantumController(FileResource(path, demand=50), interval=NEVER) as controller:
        while not controller.steps:
            threading.Event().wait(0.001)
        steered = path.read_text(encoding="ascii")

        def child() -> None:
            with pytest.raises(SystemExit):
                leave(controller)

        assert in_child(child) == 0
        assert path.read_text(encoding="ascii") == steered != "10"
        assert controller.running
    assert path.read_text(encoding="ascii") == "10"


def test_a_program_that_goes_on_in_the_background_puts_back(tmp_path: Path) -> None:
    path = tmp_path / "size"
    path.write_text("10", encoding="ascii")

    def program() -> None:
        with QuantumController(FileResource(path, demand=50), interval=NEVER) as controller:
            while not controller.steps:
                threading.Event().wait(0.001)
            assert path.read_text(encoding="ascii") != "10"
            first = os.getpid()
            if os.fork():
                os._exit(0)
            signal.alarm(30)
            while os.getppid() == first:
                threading.Event().wait(0.001)

    assert in_child(program) == 0
    end = time.monotonic() + LONG
    while path.read_text(encoding="ascii") != "10" and time.monotonic() < end:
        threading.Event().wait(0.01)
    assert path.read_text(encoding="ascii") == "10"


def leave(controller: QuantumController) -> None:
    try:
        raise SystemExit
    finally:
        controller.__exit__(None, None, None)


def test_stop_leaves_the_parents_memory_alone_there(tmp_path: Path) -> None:
    file = tmp_path / "memory"
    pool = Watched(10)
    controller = QuantumController(pool, auto_tune=True, interval=NEVER, memory=file)
    controller.start()
    assert pool.measured.wait(LONG)
    assert in_child(controller.stop) == 0
    assert not file.exists()
    controller.stop()
    assert file.exists()


@pytest.mark.parametrize(
    "begin",
    [
        QuantumController.start,
        QuantumController.optimize,
        lambda controller: asyncio.run(controller.run()),
    ],
)
def test_to_steer_there_what_the_parent_steers_is_refused(
    amid_a_step: QuantumController, begin: Callable[[QuantumController], object]
) -> None:
    def child() -> None:
        with pytest.raises(LifecycleError, match="runs in the process from which this one was forked"):
            begin(amid_a_step)
        assert not amid_a_step.running

    assert in_child(child) == 0


def test_one_that_was_stopped_before_the_fork_steers_in_each() -> None:
    pool, controller = steered()
    controller.stop()

    def child() -> None:
        controller.stop()
        assert pool.applied == [20, 10]
        pool.size = 20
        controller.start()
        assert not controller.inherited
        controller.stop()
        assert not controller.running
        controller.optimize()

    assert in_child(child) == 0
    controller.start()
    controller.stop()


def test_what_was_stepped_by_hand_is_put_back_by_who_has_done_it() -> None:
    pool, controller = growing()
    controller.optimize()

    def child() -> None:
        controller.stop()
        assert pool.applied == [20]
        controller.optimize()
        controller.stop()
        assert pool.applied == [20, 10]

    assert in_child(child) == 0
    controller.stop()
    assert pool.applied == [20, 10]


def test_the_copy_of_an_event_loop_that_is_cancelled_puts_nothing_back() -> None:
    pool, controller = growing(0.001)

    async def main() -> None:
        task = asyncio.create_task(controller.run())
        while controller.steps < 3:
            await asyncio.sleep(0)

        def child() -> None:
            assert not controller.running
            with pytest.raises(asyncio.CancelledError):
                task.get_coro().throw(asyncio.CancelledError())  # as at the end of the child's asyncio.run()
            assert pool.applied == [20]

        assert in_child(child) == 0
        assert controller.running
        controller.stop()
        await task

    asyncio.run(main())
    assert pool.size == 10

"""The asyncio twin: the same step, stopped, cancelled and restored in an event loop."""

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest
from watched import LONG, Watched, growing

from quantum_control import ActuatorError, LifecycleError, Outcome, QuantumController


def in_event_loop(
    act: Callable[[QuantumController, "asyncio.Task[None]"], Awaitable[object]],
) -> tuple[Watched, QuantumController]:
    """Act on a controller whose run() has taken its first step."""
    pool, controller = growing()

    async def main() -> None:
        task = asyncio.create_task(controller.run())
        while not pool.changed.is_set():
            await asyncio.sleep(0)
        assert controller.running
        assert pool.size == 20
        assert pool.threads == {threading.current_thread()}
        await asyncio.wait_for(act(controller, task), LONG)
        assert task.done()
        assert not controller.running

    asyncio.run(main())
    return pool, controller


def test_run_is_stopped_from_its_own_event_loop() -> None:
    async def stop(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        controller.stop()
        await task

    pool, controller = in_event_loop(stop)
    assert (pool.size, controller.steps) == (10, 1)


def test_run_is_stopped_from_another_thread() -> None:
    async def stop(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        await asyncio.to_thread(controller.stop)
        await task

    pool, controller = in_event_loop(stop)
    assert (pool.size, controller.steps) == (10, 1)


def test_however_a_stop_from_another_thread_meets_a_step_of_run_the_original_is_in_force_after_it() -> None:
    pool, controller = growing(1e-4, 1e6, -1e6, 1e6)
    found: list[float] = []

    def stop() -> None:
        assert pool.changed.wait(LONG)
        controller.stop()
        found.append(pool.size)

    async def main() -> None:
        for _ in range(200):
            pool.changed.clear()
            stopping = asyncio.to_thread(stop)
            await asyncio.gather(controller.run(), stopping)

    asyncio.run(main())
    assert found == [10] * 200


def test_run_keeps_the_last_size_if_told_to() -> None:
    async def stop(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        controller.stop(restore=False)
        await task

    pool, _ = in_event_loop(stop)
    assert pool.size == 20


def test_cancelling_run_restores_the_original() -> None:
    async def cancel(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    pool, _ = in_event_loop(cancel)
    assert pool.size == 10


def test_a_cancelled_run_says_if_it_could_not_restore() -> None:
    async def cancel(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        pool = controller.resource
        assert isinstance(pool, Watched)
        pool.broken_applying = OSError("read-only")
        task.cancel()
        with pytest.raises(ActuatorError, match="could not be restored"):
            await task

    pool, _ = in_event_loop(cancel)
    assert pool.size == 20


def test_run_and_start_exclude_each_other() -> None:
    async def start(controller: QuantumController, task: "asyncio.Task[None]") -> None:
        with pytest.raises(LifecycleError):
            controller.start()
        with pytest.raises(LifecycleError):
            await controller.run()
        pool = controller.resource
        assert isinstance(pool, Watched)
        assert pool.size == 20  # whoever is refused restores nothing
        controller.stop()
        await task

    in_event_loop(start)


def test_a_resource_may_stop_run_from_inside_its_step() -> None:
    pool, controller = growing()
    pool.in_measuring = controller.stop
    asyncio.run(asyncio.wait_for(controller.run(), LONG))
    assert (controller.steps, pool.applied) == (1, [])


def test_run_takes_the_same_steps_as_optimize() -> None:
    pool, controller = growing(0.001)

    async def main() -> None:
        task = asyncio.create_task(controller.run())
        while controller.steps < 3:
            await asyncio.sleep(0)
        controller.stop()
        await task

    asyncio.run(main())
    assert controller.decisions[0].outcome is Outcome.CHANGED
    assert len(controller.decisions) == controller.steps >= 3
    assert pool.size == 10

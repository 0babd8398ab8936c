import asyncio
import functools
import random
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from forked import held, in_child

from quantum_control.core.errors import ConfigError, LifecycleError
from quantum_control.resources.limiter import AsyncLimiter
from quantum_control.resources.reading import ResizablePool

PATIENCE = 60.0


def in_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test in an event loop of its own."""

    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        async def main() -> None:
            async with asyncio.timeout(PATIENCE):
                await test(**arguments)

        asyncio.run(main())

    return run


async def settle() -> None:
    """Let everything that can run do so."""
    for _ in range(10):
        await asyncio.sleep(0)


class Guests:
    """Tasks that stay inside until they are told to leave."""

    def __init__(self, limiter: AsyncLimiter) -> None:
        self.limiter = limiter
        self.entered: list[int] = []
        self.doors: list[asyncio.Event] = []
        self.tasks: list[asyncio.Task[None]] = []

    async def arrive(self, count: int) -> None:
        for _ in range(count):
            self.doors.append(asyncio.Event())
            self.tasks.append(asyncio.create_task(self._visit(len(self.tasks))))
        await settle()

    async def _visit(self, number: int) -> None:
        async with self.limiter:
            self.entered.append(number)
            await self.doors[number].wait()

    async def leave(self, *numbers: int) -> None:
        for number in numbers:
            self.doors[number].set()
        await settle()

    async def end(self) -> None:
        for door in self.doors:
            door.set()
        await asyncio.gather(*self.tasks, return_exceptions=True)


@in_loop
async def test_no_more_than_the_limit_are_inside_and_the_first_come_first() -> None:
    guests = Guests(AsyncLimiter(2))
    await guests.arrive(5)
    assert guests.entered == [0, 1]
    await guests.leave(1)
    assert guests.entered == [0, 1, 2]
    await guests.leave(0, 2)
    assert guests.entered == [0, 1, 2, 3, 4]
    await guests.end()


@in_loop
async def test_growing_lets_waiting_tasks_in() -> None:
    limiter = AsyncLimiter(1)
    guests = Guests(limiter)
    await guests.arrive(5)
    limiter.resize(4)
    await settle()
    assert guests.entered == [0, 1, 2, 3]
    await guests.end()


@in_loop
async def test_shrinking_takes_effect_as_tasks_leave() -> None:
    limiter = AsyncLimiter(3)
    guests = Guests(limiter)
    await guests.arrive(5)
    limiter.resize(1)
    assert (limiter.reading().busy, limiter.reading().alive, limiter.reading().size) == (3, 3, 1)
    await guests.leave(0, 1)
    assert guests.entered == [0, 1, 2]
    await guests.leave(2)
    assert guests.entered == [0, 1, 2, 3]
    assert limiter.reading().alive == 1
    await guests.end()


@in_loop
async def test_nobody_overtakes_those_who_wait() -> None:
    limiter = AsyncLimiter(1)
    guests = Guests(limiter)
    await guests.arrive(2)
    guests.doors[0].set()
    await asyncio.sleep(0)  # the permit is on its way to 1, who has not moved yet
    await guests.arrive(1)
    assert guests.entered == [0, 1]
    await guests.end()
    assert guests.entered == [0, 1, 2]


@in_loop
async def test_a_cancelled_waiter_loses_its_place_only() -> None:
    limiter = AsyncLimiter(1)
    guests = Guests(limiter)
    await guests.arrive(3)
    guests.tasks[1].cancel()
    await settle()
    assert limiter.reading().waiting == 1
    await guests.leave(0)
    assert guests.entered == [0, 2]
    await guests.end()


@in_loop
async def test_a_permit_on_its_way_to_a_cancelled_task_goes_to_the_next() -> None:
    limiter = AsyncLimiter(1)
    guests = Guests(limiter)
    await guests.arrive(3)
    limiter.resize(2)
    guests.tasks[1].cancel()
    await settle()
    assert guests.entered == [0, 2]
    await guests.end()
    reading = limiter.reading()
    assert (reading.busy, reading.started, reading.completed, reading.submitted) == (0, 2, 2, 3)


@pytest.mark.parametrize("seed", range(5))
@in_loop
async def test_a_storm_of_cancellations_and_resizes_leaks_no_permit(seed: int) -> None:
    rng = random.Random(seed)
    limiter = AsyncLimiter(3)
    inside = 0

    async def visit() -> None:
        nonlocal inside
        async with limiter:
            inside += 1
            try:
                assert inside <= 8
                for _ in range(rng.randint(0, 3)):
                    await asyncio.sleep(0)
            finally:
                inside -= 1

    tasks = [asyncio.create_task(visit()) for _ in range(500)]
    while not all(task.done() for task in tasks):
        for task in rng.sample(tasks, 5):
            task.cancel()
        limiter.resize(rng.randint(1, 8))
        await asyncio.sleep(0)
    for task in tasks:
        assert task.cancelled() or task.exception() is None
    reading = limiter.reading()
    assert (inside, reading.busy, reading.waiting) == (0, 0, 0)
    assert reading.started == reading.completed
    limiter.resize(2)
    guests = Guests(limiter)
    await guests.arrive(3)
    assert guests.entered == [0, 1]
    await guests.end()


@in_loop
async def test_another_thread_can_resize() -> None:
    limiter = AsyncLimiter(1)
    entered = asyncio.Event()

    async def visit() -> None:
        async with limiter:
            entered.set()

    async with limiter:
        task = asyncio.create_task(visit())
        await settle()
        threading.Thread(target=limiter.resize, args=(2,)).start()
        await entered.wait()
        await task


def test_one_limiter_serves_several_event_loops() -> None:
    limiter = AsyncLimiter(1)
    inside = threading.Semaphore(1)

    async def visit() -> None:
        for _ in range(50):
            async with limiter:
                assert inside.acquire(blocking=False)
                await asyncio.sleep(0)
                inside.release()

    errors: list[BaseException] = []

    def loop() -> None:
        try:
            asyncio.run(visit())
        except BaseException as error:  # noqa: BLE001 - looked at below
            errors.append(error)

    threads = [threading.Thread(target=loop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors
    assert (limiter.reading().completed, limiter.reading().busy) == (200, 0)


def test_a_waiter_whose_loop_was_closed_takes_no_permit() -> None:
    limiter = AsyncLimiter(1)
    waiting = limiter.acquire()

    async def get_in_line() -> None:
        await limiter.acquire()
        waiting.send(None)

    asyncio.run(get_in_line())
    limiter.release()
    assert (limiter.reading().busy, limiter.reading().waiting) == (0, 0)
    waiting.close()
    assert limiter.reading().busy == 0


@in_loop
async def test_time_in_line_and_inside_is_counted() -> None:
    now = [0.0]
    limiter = AsyncLimiter(1, clock=lambda: now[0])
    guests = Guests(limiter)
    await guests.arrive(2)
    now[0] = 3.0
    assert limiter.reading().busy_seconds == 3.0
    await guests.leave(0)
    now[0] = 5.0
    await guests.leave(1)
    reading = limiter.reading()
    assert (reading.wait_seconds, reading.service_seconds, reading.busy_seconds) == (3.0, 5.0, 5.0)
    await guests.end()


@in_loop
async def test_errors_are_counted_and_cancellations_are_not() -> None:
    limiter = AsyncLimiter(1)
    for error in (ValueError(), asyncio.CancelledError()):
        with pytest.raises(type(error)):
            async with limiter:
                raise error
    await limiter.acquire()
    limiter.release(failed=True)
    assert (limiter.reading().completed, limiter.reading().failed) == (3, 2)


def test_a_release_too_many_is_refused() -> None:
    with pytest.raises(LifecycleError, match="without acquire"):
        AsyncLimiter(1).release()


@pytest.mark.parametrize("limit", [0, -3, 1.0, True])
def test_a_limit_is_a_positive_integer(limit: Any) -> None:
    with pytest.raises(ConfigError, match="limit="):
        AsyncLimiter(limit)
    with pytest.raises(ConfigError, match="resize="):
        AsyncLimiter(1).resize(limit)


def test_it_is_a_resizable_pool() -> None:
    assert isinstance(AsyncLimiter(1), ResizablePool)


def test_a_forked_child_goes_on_with_it_whatever_its_parents_controller_was_doing() -> None:
    limiter = AsyncLimiter(2)

    async def use() -> None:
        async with limiter:
            assert limiter.reading().busy == 1

    with held(limiter._lock):
        assert in_child(lambda: asyncio.run(use())) == 0


@in_loop
async def test_in_a_forked_child_no_permit_goes_to_a_task_of_its_parent() -> None:
    limiter = AsyncLimiter(1)
    await limiter.acquire()
    in_line = asyncio.create_task(limiter.acquire())
    await settle()

    def child() -> None:
        assert (limiter.reading().busy, limiter.reading().waiting) == (1, 0)
        limiter.resize(2)
        assert limiter.reading().busy == 1

    assert in_child(child) == 0
    limiter.release()
    await in_line

"""A turnstile in front of a connection pool."""

from __future__ import annotations

import asyncio
import random
import threading

import pytest
from forked import held, in_child

from quantum_control.bench.server_process import wait_until
from quantum_control.resources.turnstile import LineFullError, NoPlaceError, Turnstile


def visit(gate, failed=False):
    gate.end(gate.begin(gate.enter()), failed=failed)


def reading(gate):
    return gate.reading(size=gate.limit, alive=gate.limit)


def in_line(gate, number):
    assert wait_until(lambda: len(gate) == number, 20.0)


def test_a_visit_is_counted_with_its_wait_and_its_time():
    now = [0.0]
    gate = Turnstile(1, clock=lambda: now[0])
    arrived = gate.enter()
    now[0] = 1.0
    began = gate.begin(arrived)
    assert reading(gate).busy == 1
    now[0] = 3.0
    gate.end(began)
    counted = reading(gate)
    assert (counted.submitted, counted.started, counted.completed, counted.failed) == (1, 1, 1, 0)
    assert (counted.wait_seconds, counted.service_seconds) == (1.0, 2.0)
    # The place was taken while its connection was fetched, too.
    assert counted.busy_seconds == 3.0
    assert (counted.busy, counted.waiting) == (0, 0)


def test_whoever_is_inside_without_a_connection_still_waits():
    gate = Turnstile(2)
    gate.enter()
    assert (reading(gate).busy, reading(gate).waiting) == (0, 1)


def test_failures_are_counted_and_free_the_place():
    gate = Turnstile(1)
    gate.fail(gate.enter())
    visit(gate, failed=True)
    counted = reading(gate)
    assert (counted.completed, counted.failed, counted.waiting) == (2, 2, 0)
    visit(gate)


def test_a_full_turnstile_refuses_who_does_not_wait_and_who_would_make_the_line_too_long():
    gate = Turnstile(1)
    arrived = gate.enter()
    with pytest.raises(NoPlaceError, match="all places are taken"):
        gate.enter(0.0)
    with pytest.raises(NoPlaceError, match=r"no place within 0\.01 s"):
        gate.enter(0.01)
    waiter = threading.Thread(target=visit, args=(gate,))
    waiter.start()
    in_line(gate, 1)
    with pytest.raises(LineFullError, match="1 wait already"):
        gate.enter(20.0, longest=1)
    gate.end(gate.begin(arrived))
    waiter.join(20)
    counted = reading(gate)
    assert counted.submitted - counted.started - counted.waiting == 3  # turned away


def test_the_line_is_served_in_order():
    gate, order = Turnstile(1), []
    first = gate.begin(gate.enter())

    def wait(number):
        began = gate.begin(gate.enter())
        order.append(number)
        gate.end(began)

    threads = []
    for number in range(5):
        threads.append(threading.Thread(target=wait, args=(number,)))
        threads[-1].start()
        in_line(gate, number + 1)
    gate.end(first)
    for thread in threads:
        thread.join(20)
    assert order == [0, 1, 2, 3, 4]


def test_growing_lets_in_at_once_and_shrinking_lets_nobody_in():
    gate = Turnstile(1)
    held = [gate.begin(gate.enter())]
    entered = threading.Semaphore(0)

    def wait():
        held.append(gate.begin(gate.enter()))
        entered.release()

    threads = [threading.Thread(target=wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    in_line(gate, 3)
    gate.resize(3)
    assert entered.acquire(timeout=20)
    assert entered.acquire(timeout=20)
    gate.resize(1)
    gate.end(held[0])
    gate.end(held[1])
    assert (gate.busy, len(gate)) == (1, 1)
    gate.end(held[2])
    assert entered.acquire(timeout=20)
    for thread in threads:
        thread.join(20)


def test_never_more_than_the_limit_are_inside_whatever_the_size_does():
    gate = Turnstile(4)
    lock, inside, worst, limit = threading.Lock(), [0], [0], 9

    def come_and_go(seed):
        rng = random.Random(seed)
        for _ in range(200):
            try:
                arrived = gate.enter(rng.choice([None, 0.0, 0.001]))
            except NoPlaceError:
                continue
            began = gate.begin(arrived)
            with lock:
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
            with lock:
                inside[0] -= 1
            gate.end(began)

    threads = [threading.Thread(target=come_and_go, args=(seed,)) for seed in range(16)]
    for thread in threads:
        thread.start()
    rng = random.Random(99)
    while any(thread.is_alive() for thread in threads):
        gate.resize(rng.randint(1, limit))
        threads[0].join(0.001)
    assert 1 <= worst[0] <= limit
    counted = reading(gate)
    assert (counted.busy, counted.waiting, len(gate)) == (0, 0, 0)
    assert counted.started == counted.completed


@pytest.mark.parametrize("granted", [True, False])
def test_a_signal_s_handler_that_raises_costs_no_place(monkeypatch, granted):
    gate = Turnstile(1)
    began = gate.begin(gate.enter())

    class Interrupted:
        """A lock whose waiter is interrupted, at the latest moment or before its turn."""

        def acquire(self, timeout=-1):
            if timeout == 20.0:
                if granted:
                    gate.end(began)
                raise KeyboardInterrupt

        def release(self):
            """Nothing: nobody waits any more."""

    with monkeypatch.context() as patch:
        patch.setattr(threading, "Lock", Interrupted)
        with pytest.raises(KeyboardInterrupt):
            gate.enter(20.0)
    if not granted:
        gate.end(began)
    gate.end(gate.begin(gate.enter(0.0)))
    assert (reading(gate).waiting, len(gate)) == (0, 0)


def test_tasks_wait_beside_threads_and_time_out():
    async def scenario():
        gate = Turnstile(1)
        began = gate.begin(await gate.enter_async())
        with pytest.raises(NoPlaceError, match="no place within"):
            await gate.enter_async(0.01)
        waiting = asyncio.create_task(gate.enter_async(20.0))
        await asyncio.sleep(0)
        thread = threading.Thread(target=visit, args=(gate,))
        thread.start()
        await asyncio.to_thread(in_line, gate, 2)
        gate.end(began)
        gate.end(gate.begin(await waiting))
        await asyncio.to_thread(thread.join, 20)
        assert reading(gate).completed == 3

    asyncio.run(scenario())


def test_a_task_cancelled_with_the_place_on_its_way_hands_it_on():
    async def scenario():
        gate = Turnstile(1)
        began = gate.begin(await gate.enter_async())
        first, second = (asyncio.create_task(gate.enter_async()) for _ in range(2))
        await asyncio.sleep(0)
        gate.end(began)  # the place is the first one's, who has not run yet
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        gate.end(gate.begin(await second))
        assert (reading(gate).busy, len(gate)) == (0, 0)

    asyncio.run(scenario())


def test_who_waits_in_a_closed_event_loop_is_passed_over():
    gate = Turnstile(1)
    began = gate.begin(gate.enter())
    loop = asyncio.new_event_loop()
    task = loop.create_task(gate.enter_async())
    loop.run_until_complete(asyncio.sleep(0))
    assert len(gate) == 1
    task._log_destroy_pending = False  # it is abandoned on purpose
    loop.close()
    gate.end(began)
    visit(gate)
    assert reading(gate).completed == 2


def test_in_a_forked_child_nobody_is_inside_or_in_line():
    gate = Turnstile(1)
    began = gate.begin(gate.enter())
    other = threading.Thread(target=visit, args=(gate,))
    other.start()
    in_line(gate, 1)

    def child():
        visit(gate)
        gate.end(began)  # of the thread that has forked: it counts no more
        now = reading(gate)
        assert (now.busy, now.waiting) == (0, 0)
        visit(gate)

    with held(gate._lock):
        code = in_child(child)
    gate.end(began)
    other.join(20.0)
    assert code == 0
    assert reading(gate).completed == 2

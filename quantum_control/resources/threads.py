"""Thread pools and asyncio limiters as resources: how many tasks may run at once."""

from __future__ import annotations

import threading
import weakref
from concurrent.futures import ThreadPoolExecutor
from math import nan
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ConfigError, unknown_name
from quantum_control.core.queueing import mean_service, offered_load
from quantum_control.core.resource import Resource, ResourceState
from quantum_control.resources.adoption import AdoptedPool
from quantum_control.resources.reading import PoolReading, ResizablePool, positive_int

MAX_THREADS = 200
"""Bound where none is given. Tomcat's `maxThreads` has had the same default for
two decades of blocking request handlers."""

_registered: weakref.WeakValueDictionary[str, ThreadPoolExecutor | ResizablePool] = (
    weakref.WeakValueDictionary()
)
_registered_lock = threading.Lock()


def register_pool(name: str, pool: ThreadPoolExecutor | ResizablePool) -> None:
    """Let `ThreadPoolResource(pool_name=name)` find `pool` in this process.

    The registry does not keep the pool from being collected, and forgets it then.

    Raises
    ------
    ConfigError
        The name belongs to another pool, or `pool` cannot be steered.
    """
    _check_kind(pool)
    with _registered_lock:
        if _registered.get(name, pool) is not pool:
            raise ConfigError(f"a pool is registered as {name!r} already; unregister_pool({name!r}) first")
        _registered[name] = pool


def unregister_pool(name: str) -> None:
    """Forget a registered name.

    Raises
    ------
    ConfigError
        No pool has this name.
    """
    with _registered_lock:
        if _registered.pop(name, None) is None:
            raise ConfigError(unknown_name("pool", name, _registered))


class ThreadPoolResource(Resource):
    """Steers how many tasks of a pool may run at once.

    Parameters
    ----------
    pool_name
        Name under which the pool was given to `register_pool`.
    pool
        The pool itself, in place of the name: a `ResizableThreadPoolExecutor`,
        an `AsyncLimiter`, whatever else has their `reading` and `resize`, or a
        standard `ThreadPoolExecutor`, which is then adopted until `release()`;
        `AdoptedPool` says what that means and what it cannot do.
    min_threads, max_threads
        Bounds of the size. Tasks that wait for other tasks of the same pool
        need a `min_threads` above the number of those that wait.

    Raises
    ------
    ConfigError
        Not exactly one of `pool_name` and `pool`, an unknown name, a pool of
        an unknown kind, or bounds that are not 1 <= min <= max.
    SafetyError
        A standard pool that another resource has adopted.

    As a context manager it calls `release()` at the end.
    """

    unit = "threads"

    def __init__(
        self,
        pool_name: str | None = None,
        *,
        pool: ThreadPoolExecutor | ResizablePool | None = None,
        min_threads: int = 1,
        max_threads: int = MAX_THREADS,
    ) -> None:
        self.min_size = positive_int("min_threads", min_threads)
        self.max_size = positive_int("max_threads", max_threads)
        if min_threads > max_threads:
            raise ConfigError(
                f"min_threads={min_threads} is above max_threads={max_threads}; swap or widen them"
            )
        if (pool_name is None) == (pool is None):
            raise ConfigError(
                "give either pool_name=, as registered by register_pool, or pool=, and not both"
            )
        if pool is None:
            pool = _find(str(pool_name))
        _check_kind(pool)
        if isinstance(pool, ResizablePool):
            self._pool: ResizablePool = pool
        else:
            self._pool = adopted = AdoptedPool(pool)
            # Whoever forgets release() gets the pool back when the resource is collected.
            weakref.finalize(self, adopted.release).atexit = False
        self._last = self._pool.reading()
        self._metrics: dict[str, float] = {}

    def measure_state(self) -> ResourceState:
        """Demand since the previous measurement (at first, since this object was made) over the size."""
        last, now = self._last, self._pool.reading()
        elapsed = now.time - last.time
        if not elapsed > 0.0:
            # Too soon for averages: those of the previous measurement stand.
            return ResourceState.from_demand(float(now.busy + now.waiting), size=float(now.size))
        self._last = now
        busy_seconds = now.busy_seconds - last.busy_seconds
        service = mean_service(busy_seconds, now.completed - last.completed)
        busy = busy_seconds / elapsed
        self._metrics = _metrics(last, now, elapsed)
        demand = offered_load(busy, float(now.waiting), service, elapsed)
        return ResourceState.from_demand(demand, size=float(now.size))

    def apply_control(self, new_size: int) -> None:
        """Let `new_size` tasks run at once.

        Raises
        ------
        ConfigError
            Not a positive integer.
        ActuatorError
            A thread could not be started; the size is what it was before. Or an adopted pool was released.
        """
        self._pool.resize(new_size)

    def get_metrics(self) -> dict[str, float]:
        """Figures of the last measured interval; none before the first measurement.

        `throughput` and `errors`: tasks ended, and failed, per second.
        `wait_seconds`: mean of the tasks begun. `service_seconds`: mean of the
        tasks ended. Both are nan where there was no such task. `busy`: mean
        number running. `queue_depth`, `threads`: tasks waiting and threads
        there at its end.
        """
        return dict(self._metrics)

    def release(self) -> None:
        """Give an adopted pool back as it was found; see `AdoptedPool.release`."""
        if isinstance(self._pool, AdoptedPool):
            self._pool.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def _metrics(last: PoolReading, now: PoolReading, elapsed: float) -> dict[str, float]:
    started = now.started - last.started
    completed = now.completed - last.completed
    return {
        "throughput": completed / elapsed,
        "errors": (now.failed - last.failed) / elapsed,
        "wait_seconds": (now.wait_seconds - last.wait_seconds) / started if started else nan,
        "service_seconds": (now.service_seconds - last.service_seconds) / completed if completed else nan,
        "busy": (now.busy_seconds - last.busy_seconds) / elapsed,
        "queue_depth": float(now.waiting),
        "threads": float(now.alive),
    }


def _find(name: str) -> ThreadPoolExecutor | ResizablePool:
    with _registered_lock:
        pool = _registered.get(name)
        if pool is None:
            raise ConfigError(
                f"{unknown_name('pool', name, _registered)}; pools are named by register_pool()"
            )
    return pool


def _check_kind(pool: object) -> None:
    if getattr(pool, "steers_itself", False):
        raise ConfigError(f"a {type(pool).__name__} steers itself; use a ResizableThreadPoolExecutor here")
    if not isinstance(pool, (ThreadPoolExecutor, ResizablePool)):
        raise ConfigError(
            f"a {type(pool).__name__} cannot be steered; give a ResizableThreadPoolExecutor, a standard"
            " ThreadPoolExecutor, an AsyncLimiter, or an object with reading() and resize()"
        )

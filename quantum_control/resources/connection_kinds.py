"""Which module knows a pool: by the package that the pool's class comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any, Protocol, runtime_checkable

from quantum_control.core.errors import ConfigError
from quantum_control.resources.reading import ResizablePool
from quantum_control.resources.spare import Spare

_SITES = {
    "psycopg_pool": ("postgres", "pool_psycopg", "PsycopgPool", "AsyncPsycopgPool"),
    "sqlalchemy": ("sqlalchemy", "pool_sqlalchemy", "SqlalchemyPool", "SqlalchemyPool"),
    "redis": ("redis", "pool_redis", "RedisPool", "AsyncRedisPool"),
}
"""By the package that a pool's class comes from: extra, module, class, class for asyncio."""


@runtime_checkable
class Releasable(Protocol):
    """A pool that can be given back as it was found."""

    def release(self) -> None:
        """Give it back; may be called any number of times."""


@runtime_checkable
class Restorable(Protocol):
    """A pool that outlives the process that steers it, and can be put back by another."""

    def snapshot(self) -> dict[str, object]:
        """All that was found; JSON."""

    def restore(self, snapshot: Mapping[str, object]) -> None:
        """Put it back."""


@runtime_checkable
class Sparing(Protocol):
    """A pool whose connections above a lower size stay open for a while."""

    spare: Spare


def adopt(pool: Any, clock: Callable[[], float]) -> ResizablePool:
    """Give a pool of a library a size and a reading; a pool that has them already is returned as it is.

    Raises
    ------
    ConfigError
        A pool of an unknown kind, or one without a size.
    SafetyError
        The pool is steered already.
    """
    lineage = [(kind.__module__.partition(".")[0], kind) for kind in type(pool).__mro__]
    for package, kind in lineage:
        if package in _SITES:
            extra, module, threaded, tasks = _SITES[package]
            is_async = kind.__name__.startswith("Async") or ".asyncio" in kind.__module__
            adopted: ResizablePool = getattr(client_module(extra, module), tasks if is_async else threaded)(
                pool, clock=clock
            )
            return adopted
    if isinstance(pool, ResizablePool):
        return pool
    raise ConfigError(
        f"a {type(pool).__name__} cannot be steered; give a psycopg_pool, SQLAlchemy or redis-py pool,"
        " or an object with reading() and resize()"
    )


def check_known(pool: object, private: tuple[str, ...], versions: str) -> None:
    """Check that a pool has the attributes of its library's own that are used here.

    Raises
    ------
    ConfigError
        It has not, as in a version of the library that is not known; `versions` names those that are.
    """
    missing = [name for name in private if not hasattr(pool, name)]
    if missing:
        raise ConfigError(
            f"this {type(pool).__name__} has no {', '.join(missing)}: its version is not known here;"
            f" install {versions}"
        )


def client_module(extra: str, module: str) -> Any:
    """Import a module of this package that needs the client library in `extra`.

    Raises
    ------
    ConfigError
        The library is not installed; the message has the command that installs it.
    """
    try:
        return import_module(f"quantum_control.resources.{module}")
    except ImportError as error:
        raise ConfigError(
            f"{error.name or 'a client library'} is missing;"
            f" install it with: pip install 'quantum-control[{extra}]'"
        ) from error

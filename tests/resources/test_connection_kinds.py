"""Which pools are refused, and what is said of it; without a server."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg_pool", reason="pip install 'quantum-control[postgres]'")
pytest.importorskip("sqlalchemy", reason="pip install 'quantum-control[sqlalchemy]'")

from psycopg_pool import AsyncConnectionPool, NullConnectionPool
from sqlalchemy import create_engine
from sqlalchemy.orm import Session
from sqlalchemy.pool import NullPool, QueuePool

from quantum_control.core.errors import ConfigError
from quantum_control.resources.connections import ConnectionPoolResource


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: NullConnectionPool(open=False), "has no limit"),
        (lambda: AsyncConnectionPool(open=False), "was not opened yet"),
        (lambda: create_engine("sqlite://", poolclass=NullPool), "a NullPool has no size"),
        (lambda: create_engine("sqlite://", poolclass=QueuePool, max_overflow=-1), "has no limit"),
        (Session, "a Session has no size; use an engine"),
        (object, "a object cannot be steered"),
    ],
)
def test_what_cannot_be_steered_is_refused_untouched(make, said):
    pool = make()
    before = dict(vars(pool)) if hasattr(pool, "__dict__") else {}
    with pytest.raises(ConfigError, match=said):
        ConnectionPoolResource(pool)
    assert (dict(vars(pool)) if hasattr(pool, "__dict__") else {}) == before


def test_a_null_pool_with_a_limit_is_taken():
    pool = NullConnectionPool(open=False, max_size=4)
    with ConnectionPoolResource(pool) as resource:
        assert resource.measure_state().size == 4

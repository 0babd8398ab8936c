"""The pool size of one database in PgBouncer's file; on a console of our own making."""

from __future__ import annotations

import pytest

pytest.importorskip("psycopg", reason="pip install 'quantum-control[postgres]'")

from quantum_control.core.errors import ActuatorError
from quantum_control.resources.pgbouncer_entry import EntrySize

FILE = "[databases]\nshop = dbname=shop pool_size=5 \nother = dbname=other pool_size=9\n[pgbouncer]\n"


class Console:
    """A PgBouncer that reads its file when it is told to reload."""

    def __init__(self, path):
        self.path = path
        self.fails = None
        self.order("RELOAD")

    def order(self, _):
        if self.fails is not None:
            raise self.fails
        line = next(line for line in self.path.read_text().splitlines() if line.startswith("shop"))
        self.size = int(line.partition("pool_size=")[2].strip(" '") or 20)

    def of_database(self, _):
        return self.size


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pgbouncer.ini"
    path.write_text(FILE)
    return path


@pytest.mark.parametrize("text", [FILE, FILE.replace(" pool_size=5", "")])
def test_the_size_is_written_for_this_database_alone_and_comes_back_to_the_byte(path, text):
    path.write_text(text)
    console = Console(path)
    entry = EntrySize(console, "shop", str(path))
    entry.write(7)
    assert (entry.read(), console.size) == (7, 7)
    assert "other = dbname=other pool_size=9\n" in path.read_text()
    entry.write(entry.found)
    assert path.read_text() == text


@pytest.mark.parametrize("edited", ["8", "'8'"])
def test_a_size_that_was_edited_and_not_taken_up_is_in_the_file_in_the_end(path, edited):
    console = Console(path)
    path.write_text(FILE.replace("pool_size=5", f"pool_size={edited}"))
    entry = EntrySize(console, "shop", str(path))
    kept = entry.snapshot()
    assert kept["size"] == 5
    for put_back in (lambda: entry.write(5), lambda: entry.restore(kept)):
        entry.write(7)
        assert console.size == 7
        put_back()
        assert path.read_text() == FILE.replace("pool_size=5", f"pool_size={edited}")
        assert console.size == 8


@pytest.mark.parametrize("error", [ActuatorError("refused"), KeyboardInterrupt()])
def test_a_reload_that_is_refused_or_interrupted_leaves_the_file_as_it_was(path, error):
    console = Console(path)
    entry = EntrySize(console, "shop", str(path))
    console.fails = error
    with pytest.raises(type(error)):
        entry.write(7)
    assert path.read_text() == FILE
    assert entry.read() == 5

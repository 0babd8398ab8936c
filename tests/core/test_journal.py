"""Originals on disk: kept before the first change, refused where they cannot be, found later."""

import os
import sqlite3
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from doubles import Pool
from filed import FileResource, TripleResource
from hypothesis import given
from hypothesis import strategies as st

from quantum_control import ActuatorError, ConfigError, SafetyError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.journalled import Journalled
from quantum_control.core.writer import Writer

THIS = Writer.this()
ORIGINAL = Original("web", "pool", {"pool": "web"}, 10, THIS, taken=5.0)


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


def journalled(resource, journal, **options):
    made = Journalled(resource, journal, "web", "pool", options, now=lambda: 5.0)
    made.measure_state()
    return made


# ---- the journal ---------------------------------------------------------------------------------


def test_an_original_is_read_back_as_it_was_kept(journal):
    kept = replace(ORIGINAL, snapshot={"values": [1, 2, 3]}, outlives_boot=True, ours=(11, 12))
    journal.keep(kept)
    assert journal.originals() == [kept]
    journal.forget(kept)
    assert journal.originals() == []


def test_it_is_there_for_a_process_that_opens_the_file_later(journal):
    journal.keep(ORIGINAL)
    journal.ours(ORIGINAL.key, (12, 14))
    other = Journal(journal.path)
    assert other.originals() == [replace(ORIGINAL, ours=(12, 14))]
    other.close()


def test_a_commit_of_an_original_is_synced(journal, monkeypatch):
    """Synchronous FULL is what makes SQLite call fsync at a commit in WAL mode; 2 is its number."""
    seen = []
    journal._base.set_trace_callback(seen.append)
    journal.keep(ORIGINAL)
    assert journal._base.execute("PRAGMA synchronous").fetchone() == (2,)
    assert journal._base.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert seen.index("PRAGMA synchronous = FULL") < seen.index("COMMIT")


@pytest.mark.parametrize(("outlives", "synchronous"), [(True, "FULL"), (False, "NORMAL")])
def test_what_is_ours_is_synced_where_it_matters_after_a_loss_of_power(journal, outlives, synchronous):
    journal.keep(replace(ORIGINAL, outlives_boot=outlives))
    seen = []
    journal._base.set_trace_callback(seen.append)
    journal.ours(ORIGINAL.key, (12, 14))
    journal.forget(ORIGINAL)
    assert [each for each in seen if "synchronous" in each] == [f"PRAGMA synchronous = {synchronous}"] * 2


def test_an_original_that_was_not_put_back_is_not_overwritten(journal):
    journal.keep(ORIGINAL)
    with pytest.raises(SafetyError, match=f"web was changed by process {THIS.pid}"):
        journal.keep(replace(ORIGINAL, size=99))
    assert journal.originals() == [ORIGINAL]


def test_only_the_owner_may_read_it(journal):
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_what_cannot_be_opened_is_refused_with_its_path(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere/j.db' cannot be opened"):
        Journal(tmp_path / "nowhere" / "j.db")
    (tmp_path / "j.db").mkdir()
    with pytest.raises(ConfigError, match=r"j.db' cannot be opened"):
        Journal(tmp_path / "j.db")


def test_a_journal_of_another_version_is_not_touched(tmp_path):
    base = sqlite3.connect(tmp_path / "j.db")
    base.execute("PRAGMA user_version = 7")
    base.close()
    with pytest.raises(ConfigError, match="version 7, not 1"):
        Journal(tmp_path / "j.db")


@given(garbage=st.binary(min_size=1, max_size=3000), start=st.booleans())
def test_garbage_in_the_file_is_an_error_of_ours(tmp_path_factory, garbage, start):
    path = tmp_path_factory.mktemp("journal") / "j.db"
    path.write_bytes((b"SQLite format 3\0" if start else b"") + garbage)
    try:
        journal = Journal(path)
    except ConfigError:
        return
    try:
        journal.originals()
    except ConfigError:
        pass
    finally:
        journal.close()


@given(data=st.data())
def test_a_damaged_journal_is_an_error_of_ours(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "j.db"
    journal = Journal(path)
    journal.keep(ORIGINAL)
    journal.close()
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 20))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    try:
        journal = Journal(path)
    except ConfigError:
        return
    try:
        journal.originals()
    except ConfigError:
        pass
    finally:
        journal.close()


def test_threads_write_one_after_the_other(journal):
    def keep(number):
        for turn in range(10):
            journal.keep(replace(ORIGINAL, options={"pool": number, "turn": turn}))

    threads = [threading.Thread(target=keep, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(journal.originals()) == 80


# ---- a journalled resource -----------------------------------------------------------------------


def test_nothing_is_written_until_something_changes(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(10)
    resource.put_back()
    assert journal.originals() == []
    assert pool.applied == [10]


def test_the_original_is_on_disk_before_the_first_change(journal):
    pool = Pool(10)
    resource = journalled(pool, journal, pool="web")
    seen = []

    def apply(size):
        seen.append(Journal(journal.path))
        pool.size = size

    pool.apply_control = apply
    resource.apply_control(12)
    (at_change,) = seen
    assert at_change.originals() == [replace(ORIGINAL, ours=(12, 12))]
    at_change.close()


def test_the_range_of_all_orders_is_known_as_ours_and_written_only_as_it_widens(journal):
    resource = journalled(Pool(10), journal)
    written = []
    keep = journal.ours
    journal.ours = lambda key, sizes: (written.append(sizes), keep(key, sizes))
    for size in (12, 16, 14, 15, 8, 13):
        resource.apply_control(size)
    assert written == [(12, 12), (12, 16), (8, 16)]
    assert journal.originals()[0].ours == (8, 16)


def test_a_size_that_comes_out_otherwise_is_known_as_ours(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(1000)
    pool.size = 512
    assert journal.originals()[0].left_by_us(512)  # on its way
    pool.size = 1024
    resource.measure_state()
    assert not journal.originals()[0].left_by_us(1024)  # it may be somebody else's
    resource.own(1024.0)
    assert journal.originals()[0].left_by_us(1024)


def test_the_original_is_put_back_and_struck_out(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(12)
    resource.put_back()
    assert pool.applied == [12, 10]
    assert journal.originals() == []
    resource.put_back()
    assert pool.applied == [12, 10]


def test_the_whole_setting_is_put_back_where_there_is_more_than_a_size(journal, tmp_path):
    setting = tmp_path / "wmem"
    setting.write_text("[4096, 16384, 20000]", encoding="ascii")
    resource = journalled(TripleResource(setting), journal)
    resource.apply_control(65536)
    assert setting.read_text(encoding="ascii") == "[4096, 65536, 131072]"
    resource.put_back()
    assert setting.read_text(encoding="ascii") == "[4096, 16384, 20000]"


def test_what_cannot_be_put_back_stays_in_the_journal(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(12)
    pool.broken_applying = RuntimeError("locked")
    with pytest.raises(ActuatorError, match="original size 10 of web could not be restored: locked"):
        resource.put_back()
    assert len(journal.originals()) == 1


def test_a_resource_let_go_is_as_if_found_anew(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(12)
    pool.size = 30
    resource.let_go()
    assert journal.originals() == []
    resource.put_back()
    assert pool.size == 30
    resource.measure_state()
    resource.apply_control(31)
    assert journal.originals()[0].size == 30


# ---- a disk that is full or read-only ------------------------------------------------------------

WRITE_ON_A_FULL_DISK = """
import resource, signal, sys
from doubles import Pool
from quantum_control import ActuatorError
from quantum_control.core.journal import Journal
from quantum_control.core.journalled import Journalled

journal = Journal(sys.argv[1])
pools = [Pool(10) for _ in range(400)]
steered = [Journalled(pool, journal, f"p{n}", "pool", {"n": n}) for n, pool in enumerate(pools)]
for each in steered:
    each.measure_state()
steered[0].apply_control(11)
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))  # from here on every larger file is "full"
refused = 0
for each in steered[1:]:
    try:
        each.apply_control(11)
    except ActuatorError as error:
        assert "could not be written" in str(error), error
        refused += 1
changed = [pool for pool in pools if pool.applied]
kept = journal.originals()
assert refused > 300, refused
assert len(kept) == len(changed) == 400 - refused, (len(kept), len(changed), refused)
steered[0].apply_control(10)
assert pools[0].size == 10
print("refused", refused)
"""


def test_on_a_full_disk_nothing_is_changed_that_could_not_be_kept(tmp_path):
    done = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", WRITE_ON_A_FULL_DISK, str(tmp_path / "j.db")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused")


def test_on_a_disk_that_turns_read_only_nothing_is_changed(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    journal._base.execute("PRAGMA query_only = ON")
    with pytest.raises(ActuatorError, match="could not be written to journal"):
        resource.apply_control(12)
    assert pool.applied == []


def test_the_way_back_is_open_on_a_full_disk(journal):
    pool = Pool(10)
    resource = journalled(pool, journal)
    resource.apply_control(12)
    journal._base.execute("PRAGMA query_only = ON")
    with pytest.raises(ActuatorError, match="order could not be written"):
        resource.apply_control(14)
    resource.apply_control(10)
    assert pool.applied == [12, 10]


def test_a_file_resource_keeps_its_size(tmp_path):
    path = tmp_path / "size"
    path.write_text("7", encoding="ascii")
    resource = FileResource(path)
    resource.apply_control(9)
    assert resource.measure_state().size == 9


def test_options_are_in_no_repr_since_they_may_hold_a_password():
    original = replace(ORIGINAL, options={"dsn": "host=db password=not-to-be-seen"})
    assert "not-to-be-seen" not in f"{original!r} {original}"


def test_what_another_writer_has_kept_since_is_not_struck_out(journal):
    late = replace(ORIGINAL, writer=Writer(1, 999_999_999, THIS.boot))
    journal.keep(ORIGINAL)
    journal.forget(late)
    assert [each.key for each in journal.originals()] == [ORIGINAL.key]
    journal.forget(ORIGINAL)
    assert journal.originals(ORIGINAL.key) == []

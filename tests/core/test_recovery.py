"""What a fresh process does with the originals of one that is gone."""

from dataclasses import replace

import pytest
from filed import FileResource, TripleResource

from quantum_control.core.errors import GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id

GONE = Writer(1, 999_999_999, boot_id())


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "size"
    path.write_text("20", encoding="ascii")
    return path


def kept(journal, path, **changes):
    original = replace(Original("web", "file", {"path": str(path)}, 10, GONE, ours=(15, 20)), **changes)
    journal.keep(original)
    return original


def build(original):
    return FileResource(**original.options)


def test_the_size_that_a_dead_process_set_is_put_back(journal, path):
    outcome = recover(journal, kept(journal, path), build)
    assert (outcome.fate, path.read_text(encoding="ascii")) == (Fate.RESTORED, "10")
    assert str(outcome) == "web: restored: size 20 -> 10"
    assert journal.originals() == []


def test_the_whole_setting_is_put_back(journal, path):
    path.write_text("[1, 20, 40]", encoding="ascii")
    original = kept(journal, path, snapshot={"values": [1, 10, 15]})
    outcome = recover(journal, original, lambda original: TripleResource(**original.options))
    assert (outcome.fate, path.read_text(encoding="ascii")) == (Fate.RESTORED, "[1, 10, 15]")


@pytest.mark.parametrize("found", ["10", "15", "17", "20"])
def test_every_size_that_may_be_ours_is_put_back(journal, path, found):
    path.write_text(found, encoding="ascii")
    recover(journal, kept(journal, path), build)
    assert path.read_text(encoding="ascii") == "10"


def test_a_process_that_died_before_its_first_order_left_nothing(journal, path):
    path.write_text("10", encoding="ascii")
    assert recover(journal, kept(journal, path, ours=None), build).fate is Fate.THERE
    assert journal.originals() == []


def test_a_size_that_somebody_set_since_is_left_unless_forced(journal, path):
    path.write_text("33", encoding="ascii")
    original = kept(journal, path)
    assert recover(journal, original, build).fate is Fate.FOREIGN
    assert path.read_text(encoding="ascii") == "33"
    assert journal.originals() == []
    assert recover(journal, kept(journal, path), build, force=True).fate is Fate.RESTORED
    assert path.read_text(encoding="ascii") == "10"


def test_after_a_restart_of_the_machine_there_is_nothing_to_put_back(journal, path):
    original = kept(journal, path, writer=Writer(1, 1, "another boot"))
    assert recover(journal, original, build).fate is Fate.REBOOTED
    assert path.read_text(encoding="ascii") == "20"
    assert journal.originals() == []


def test_what_outlives_a_restart_is_put_back_after_it(journal, path):
    original = kept(journal, path, writer=Writer(1, 1, "another boot"), outlives_boot=True)
    assert recover(journal, original, build).fate is Fate.RESTORED
    assert path.read_text(encoding="ascii") == "10"


def test_a_resource_that_is_steered_now_is_left_to_its_process(journal, path):
    assert recover(journal, kept(journal, path, writer=Writer.this()), build).fate is Fate.STEERED
    assert path.read_text(encoding="ascii") == "20"
    assert len(journal.originals()) == 1


def test_of_what_has_ended_itself_nothing_is_put_back(journal, path):
    def build(original):
        raise GoneError("there is no process 7")

    outcome = recover(journal, kept(journal, path), build)
    assert str(outcome) == "web: gone: there is no process 7"
    assert journal.originals() == []


def test_what_cannot_be_restored_stays_in_the_journal(journal, path, tmp_path):
    original = kept(journal, path, options={"path": str(tmp_path / "missing")})
    outcome = recover(journal, original, build)
    assert outcome.fate is Fate.FAILED
    assert "missing" in outcome.detail
    assert len(journal.originals()) == 1


def test_a_size_that_was_not_taken_is_not_struck_out(journal, path):
    class Deaf(FileResource):
        def apply_control(self, new_size):
            pass

    outcome = recover(journal, kept(journal, path), lambda original: Deaf(**original.options))
    assert outcome.fate is Fate.FAILED
    assert "20 is in force, not 10" in outcome.detail
    assert len(journal.originals()) == 1


class Gone(TripleResource):
    """Its restoring finds that nothing is left of what was set."""

    def restore(self, snapshot):
        raise GoneError("it was started anew since")


@pytest.mark.parametrize("changes", [{}, {"writer": Writer(1, 1, "another boot"), "outlives_boot": True}])
def test_nor_of_what_turns_out_to_be_another_one_by_now(journal, path, changes):
    path.write_text("[1, 20, 40]", encoding="ascii")
    original = kept(journal, path, snapshot={"values": [1, 10, 15]}, **changes)
    outcome = recover(journal, original, lambda original: Gone(**original.options))
    assert str(outcome) == "web: gone: it was started anew since"
    assert journal.originals() == []


def test_what_is_let_go_of_as_it_is_restored_is_not_asked_again(journal, path):
    class Once(TripleResource):
        def restore(self, snapshot):
            super().restore(snapshot)
            self.path = None

    path.write_text("[1, 20, 40]", encoding="ascii")
    original = kept(journal, path, snapshot={"values": [1, 10, 15]})
    outcome = recover(journal, original, lambda original: Once(**original.options))
    assert str(outcome) == "web: restored: the whole setting; size 20 -> 10"
    assert path.read_text(encoding="ascii") == "[1, 10, 15]"


def test_what_steers_while_it_is_measured_is_only_looked_at(journal, path):
    class Balancing(FileResource):
        steers_while_measuring = True

        def measure_state(self):
            if self.steers_while_measuring:
                self.apply_control(99)
            return super().measure_state()

    path.write_text("33", encoding="ascii")
    outcome = recover(journal, kept(journal, path), lambda original: Balancing(**original.options))
    assert (outcome.fate, path.read_text(encoding="ascii")) == (Fate.FOREIGN, "33")

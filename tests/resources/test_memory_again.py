"""What a fresh process finds of a JVM that a dead one has steered."""

import pytest

from quantum_control.core.errors import GoneError
from quantum_control.core.journal import Journal, Original
from quantum_control.core.recovery import Fate, recover
from quantum_control.core.writer import Writer, boot_id
from quantum_control.resources.jvm_reading import HeapReading
from quantum_control.resources.memory import MemoryResource

MIB = 2**20
DEAD = Writer(1, 999_999_999, boot_id())
KEPT = {"flag": "SoftMaxHeapSize", "value": 0, "started": 1.0}


class AnyJvm:
    """A JVM that is idle."""

    def __init__(self, started):
        self.started = started
        self.soft = 400 * MIB
        self.closed = False

    def read(self):
        return HeapReading(self.started, 10.0, MIB, 2 * MIB, 1000 * MIB, float(MIB), 0.0, 1, 0.0, 0.0)

    def flag(self, name):
        return self.soft

    def set_flag(self, name, value):
        self.soft = value

    def collector(self):
        return "ZGC"

    def close(self):
        self.closed = True


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "journal.db")
    yield journal
    journal.close()


@pytest.mark.parametrize(
    ("started", "fate", "soft"),
    [(1.0, Fate.RESTORED, 0), (2.0, Fate.GONE, 400 * MIB)],
    ids=["same", "another"],
)
def test_its_setting_is_put_back_unless_it_was_started_anew(journal, started, fate, soft):
    jvm = AnyJvm(started)
    ours = (400 * MIB, 400 * MIB)
    options = {"metric_source": "jmx://elsewhere:9010"}
    original = Original("heap", "memory", options, 1000 * MIB, DEAD, KEPT, outlives_boot=True, ours=ours)
    journal.keep(original)
    outcome = recover(
        journal, original, lambda original: MemoryResource.again({"jvm": jvm}, dict(original.snapshot))
    )
    assert (outcome.fate, jvm.soft) == (fate, soft)
    assert journal.originals() == []


def test_one_that_was_started_anew_is_let_go_of():
    jvm = AnyJvm(2.0)
    with pytest.raises(GoneError, match="was started anew since, with a setting of its own"):
        MemoryResource.again({"jvm": jvm}, KEPT)
    assert jvm.closed

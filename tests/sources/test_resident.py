"""What a process holds of the machine's memory."""

from __future__ import annotations

import os

import pytest

from quantum_control.core.errors import SensorError
from quantum_control.sources.resident import resident_bytes

MIB = 2**20

STATUS = """\
Name:\tjava: a name
VmRSS:\t 1477632 kB
RssAnon:\t   51200 kB
RssFile:\t   20480 kB
RssShmem:\t 1405952 kB
"""


def status(folder, text):
    (folder / "7").mkdir(exist_ok=True)
    (folder / "7" / "status").write_text(text)
    return folder


def test_a_heap_that_is_mapped_three_times_counts_once(tmp_path):
    proc = status(tmp_path, STATUS)
    assert resident_bytes(7, 480 * MIB, proc) == (50 + 20 + 480) * MIB
    assert resident_bytes(7, 2**40, proc) == (50 + 20 + 1373) * MIB


def test_it_is_what_this_process_has():
    block = b"x" * (64 * MIB)
    with_it = resident_bytes(os.getpid(), 0)
    del block
    assert with_it - resident_bytes(os.getpid(), 0) > 32 * MIB


@pytest.mark.parametrize("text", ["", "Name:\tkthread\n", STATUS.replace("51200 kB", "many")])
def test_what_does_not_tell_is_told(tmp_path, text):
    with pytest.raises(SensorError, match="does not tell what is resident"):
        resident_bytes(7, 0, status(tmp_path, text))


def test_a_process_that_is_gone_is_told(tmp_path):
    with pytest.raises(SensorError, match="8/status"):
        resident_bytes(8, 0, tmp_path)

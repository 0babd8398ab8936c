"""The JVM's counters file: what is in it, and what is refused."""

from __future__ import annotations

import os
import struct
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantum_control.core.errors import GoneError, SensorError
from quantum_control.sources import hsperfdata

NOBODY = 2**22 + 1
"""Above the largest process id."""

NAMES = st.text("abcdefghijklmnopqrstuvwxyz.", min_size=1, max_size=40)
LONGS = st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=30)


def perfdata(counters, *, order="<", version=(2, 0), accessible=1):
    """Bytes of a file that has `counters`, as HotSpot lays them out."""
    entries = b""
    for name, value in counters.items():
        label = name.encode() + b"\0"
        label += b"\0" * (-len(label) % 8)
        if isinstance(value, int):
            body, vector, kind = struct.pack(order + "q", value), 0, ord("J")
        else:
            body = value.encode() + b"\0"
            vector, kind = len(body), ord("B")
            body += b"\0" * (-len(body) % 8)
        # The header of an entry has 20 bytes; 4 more align the value.
        at = 20 + len(label) + (-(20 + len(label)) % 8)
        head = struct.pack(order + "IIIBBBBI", at + len(body), 20, vector, kind, 0, 1, 1, at)
        entries += (head + label).ljust(at, b"\0") + body
    head = struct.pack(order + "BBBIIQII", *version, accessible, 32 + len(entries), 0, 0, 32, len(counters))
    return hsperfdata.MAGIC + bytes([order == "<"]) + head + entries


@given(counters=st.dictionaries(NAMES, st.one_of(LONGS, TEXTS)), order=st.sampled_from("<>"))
def test_what_was_counted_is_read_in_either_byte_order(counters, order):
    assert hsperfdata.parse(perfdata(counters, order=order)) == counters


@given(data=st.binary(max_size=400))
def test_garbage_is_refused(data):
    with pytest.raises(SensorError, match="cafec0c0"):
        hsperfdata.parse(data)


@given(data=st.data())
def test_a_damaged_file_gives_counters_or_a_sensor_error_and_nothing_else(data):
    good = bytearray(perfdata({"sun.gc.a": 3, "java.version": "17", "sun.gc.b": -1}))
    for _ in range(data.draw(st.integers(1, 4))):
        good[data.draw(st.integers(4, len(good) - 1))] = data.draw(st.integers(0, 255))
    try:
        counters = hsperfdata.parse(bytes(good)[: data.draw(st.integers(0, len(good)))])
    except SensorError:
        return
    assert all(isinstance(value, int | str) for value in counters.values())


def test_a_file_that_is_being_set_up_or_of_another_version_is_refused():
    with pytest.raises(SensorError, match="still setting"):
        hsperfdata.parse(perfdata({}, accessible=0))
    with pytest.raises(SensorError, match=r"version 1\.0"):
        hsperfdata.parse(perfdata({}, version=(1, 0)))


def test_a_process_that_is_no_jvm_or_none_at_all_is_told_apart():
    # Not this process, which has a JVM in it once JMX was used.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        with pytest.raises(SensorError, match="no hsperfdata file"):
            hsperfdata.read(other.pid)
        other.communicate()
    with pytest.raises(GoneError, match="there is no process"):
        hsperfdata.read(NOBODY)


def test_counters_that_are_read_again_are_those_that_are_wanted_also_when_more_were_added(
    tmp_path, monkeypatch
):
    path = tmp_path / "7"
    monkeypatch.setattr(hsperfdata, "_file", lambda _: path)
    counters = hsperfdata.Counters(7, ("gc.",))
    path.write_bytes(perfdata({"gc.a": 1, "other": 5}))
    assert counters.read() == {"gc.a": 1}
    path.write_bytes(perfdata({"gc.a": 2, "other": 5}))
    assert counters.read() == {"gc.a": 2}
    path.write_bytes(perfdata({"gc.a": 3, "other": 5, "gc.b": "text"}))
    assert counters.read() == {"gc.a": 3, "gc.b": "text"}
    path.write_bytes(b"")
    with pytest.raises(SensorError, match="cafec0c0"):
        counters.read()


@pytest.mark.parametrize(
    ("pid", "gone", "says"),
    [(os.getpid(), False, "is not there any more"), (NOBODY, True, "no process")],
    ids=["alive", "gone"],  # the same in every process that the tests run in
)
def test_a_file_that_somebody_removed_is_not_taken_for_the_end_of_the_jvm(
    tmp_path, monkeypatch, pid, gone, says
):
    monkeypatch.setattr(hsperfdata, "_file", lambda _: tmp_path / "7")
    with pytest.raises(SensorError, match=says) as told:
        hsperfdata.read(pid)
    assert isinstance(told.value, GoneError) is gone

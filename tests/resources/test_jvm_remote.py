"""What is made of the beans of a JVM, and what without those that an older one has not."""

from __future__ import annotations

from contextlib import contextmanager

import pytest

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.resources import jvm_remote
from quantum_control.resources.jvm_reading import COLLECT_SECONDS
from quantum_control.resources.jvm_remote import RemoteJvm
from quantum_control.sources import own_java

MIB = 2**20
CYCLES = "java.lang:type=GarbageCollector,name=ZGC Cycles"
PAUSES = "java.lang:type=GarbageCollector,name=ZGC Pauses"


class Table:
    """A map as Java gives it: rows of key and value."""

    def __init__(self, pools):
        self._pools = pools

    def values(self):
        return [{"key": name, "value": {"used": used}} for name, used in self._pools.items()]


class FakeJmx:
    def __init__(self, url):
        self.flags = {"ConcGCThreads": "2", "SoftMaxHeapSize": str(400 * MIB), "UseZGC": "true"}
        self.takes = True
        self.deadline = None
        self.collected_within = []
        self.error = None
        self.beans = {
            "java.lang:type=Runtime": {"StartTime": 1000, "Uptime": 10_000},
            "java.lang:type=Memory": {
                "HeapMemoryUsage": {"used": 200 * MIB, "committed": 300 * MIB, "max": 512 * MIB}
            },
            "java.lang:type=Threading": {},
            CYCLES: {"CollectionCount": 0, "CollectionTime": 0, "LastGcInfo": None},
            PAUSES: {"CollectionCount": 0, "CollectionTime": 0, "LastGcInfo": None},
        }

    @contextmanager
    def one_deadline(self, seconds=None):
        self.deadline = seconds
        yield
        self.deadline = None

    def attributes(self, bean, names):
        if self.error:
            raise self.error
        return {name: value for name, value in self.beans[bean].items() if name in names}

    def names(self, pattern):
        return [CYCLES, PAUSES]

    def invoke(self, bean, operation, *arguments):
        if operation == "gc":
            self.collected_within.append(self.deadline)
            return None
        if operation == "setVMOption":
            name, value = arguments
            self.flags[name] = value if self.takes else "300"
            return None
        return {"value": self.flags[arguments[0]]}

    def close(self):
        pass

    def later(self, seconds, used, **threading):
        self.beans["java.lang:type=Runtime"]["Uptime"] += round(1e3 * seconds)
        self.beans["java.lang:type=Memory"]["HeapMemoryUsage"] |= {"used": used * MIB}
        self.beans["java.lang:type=Threading"] |= threading

    def collected(self, count, before, after, *, end, duration):
        self.beans[CYCLES] = {
            "CollectionCount": count,
            "CollectionTime": 500,
            "LastGcInfo": {
                "endTime": end,
                "duration": duration,
                "memoryUsageBeforeGc": Table({"ZHeap": before * MIB, "Metaspace": 77 * MIB}),
                "memoryUsageAfterGc": Table({"ZHeap": after * MIB, "CodeHeap 'x'": 77 * MIB}),
            },
        }
        self.beans[PAUSES] = {"CollectionCount": 3 * count, "CollectionTime": 4, "LastGcInfo": None}


@pytest.fixture
def jvm(monkeypatch):
    monkeypatch.setattr(jvm_remote, "Jmx", FakeJmx)
    return RemoteJvm("jmx://localhost:1")


def test_before_the_first_collection_the_live_set_is_unknown(jvm):
    reading = jvm.read()
    assert reading.live != reading.live
    assert (reading.used, reading.committed, reading.maximum) == (200 * MIB, 300 * MIB, 512 * MIB)
    assert (reading.started, reading.time, reading.collections) == (1000.0, 10.0, 0)
    assert jvm.collector() == "ZGC"


def test_allocation_is_what_grew_and_what_was_freed(jvm):
    jvm.read()
    jvm._jmx.later(1.0, 300)
    assert jvm.read().allocated == 100 * MIB
    # From 300 to 250 while 150 were freed and, in half a second at the rate known, 50 allocated.
    jvm._jmx.later(1.0, 250)
    jvm._jmx.collected(1, 380, 280, end=11_900, duration=500)
    reading = jvm.read()
    assert reading.allocated == (100 - 50 + 150) * MIB
    assert reading.live == (280 - 50) * MIB
    assert (reading.collections, reading.pause_seconds) == (1, 0.004)
    # Half a second of cycles by two threads.
    assert reading.collector_seconds == 1.0


def test_where_the_jvm_counts_allocation_its_count_holds(jvm):
    jvm._jmx.later(0.0, 200, TotalThreadAllocatedBytes=7 * MIB)
    assert jvm.read().allocated == 7 * MIB
    jvm._jmx.later(1.0, 100, TotalThreadAllocatedBytes=900 * MIB)
    assert jvm.read().allocated == 900 * MIB


def test_a_flag_is_read_back_and_put_back_if_it_is_another(jvm):
    jvm.set_flag("SoftMaxHeapSize", 300 * MIB)
    assert jvm.flag("SoftMaxHeapSize") == 300 * MIB
    jvm._jmx.takes = False
    with pytest.raises(ActuatorError, match=f"it was {300 * MIB} and is 300"):
        jvm.set_flag("SoftMaxHeapSize", 200 * MIB)
    with pytest.raises(SensorError, match="'true', no number"):
        jvm.flag("UseZGC")


def test_after_a_failure_another_jvm_may_be_there(jvm):
    jvm.read()
    jvm._jmx.error = SensorError("gone")
    with pytest.raises(SensorError, match="gone"):
        jvm.read()
    jvm._jmx.error = None
    jvm._jmx.flags["ConcGCThreads"] = "4"
    jvm._jmx.collected(1, 380, 280, end=11_900, duration=500)
    assert jvm.read().collector_seconds == 2.0


def test_a_collection_may_take_as_long_as_that_of_a_local_jvm(jvm):
    jvm.collect()
    assert jvm._jmx.collected_within == [COLLECT_SECONDS]
    assert own_java.LONGEST_SECONDS >= COLLECT_SECONDS  # or Java gives it up before

"""What the processes of a group have touched, as /proc tells it."""

import mmap
import os

import pytest

from quantum_control.sources.touched import TouchedMemory

KIB = 1024


class Machine:
    """A group and a /proc of our own making."""

    def __init__(self, folder):
        self.group, self.proc = folder / "group", folder / "proc"
        self.group.mkdir()

    def runs(self, *numbers, below=""):
        (self.group / below).mkdir(exist_ok=True)
        (self.group / below / "cgroup.procs").write_text("".join(f"{number}\n" for number in numbers))

    def process(self, number, kibibytes):
        (self.proc / str(number)).mkdir(parents=True)
        told = f"Rss:  900 kB\nReferenced:  {kibibytes} kB\nAnonymous:  0 kB\n"
        (self.proc / str(number) / "smaps_rollup").write_text(told)

    def touched(self):
        return TouchedMemory(self.group, self.proc)


@pytest.fixture
def machine(tmp_path):
    return Machine(tmp_path)


def test_processes_of_the_group_and_below_it_add_up(machine):
    machine.runs(1, 2)
    machine.runs(3, below="child")
    for number in (1, 2, 3):
        machine.process(number, 100 * number)
    assert machine.touched().read() == 600 * KIB


def test_a_process_that_has_ended_is_left_out(machine):
    machine.runs(1, 2)
    machine.process(1, 100)
    assert machine.touched().read() == 100 * KIB
    assert machine.touched().forget()


def test_the_marks_of_all_are_cleared(machine):
    machine.runs(1, 2)
    for number in (1, 2):
        machine.process(number, 100)
    assert machine.touched().forget()
    assert [(machine.proc / number / "clear_refs").read_text() for number in "12"] == ["1", "1"]


def test_what_may_not_be_looked_at_or_cleared_is_told(machine):
    machine.runs(1)
    for name in ("smaps_rollup", "clear_refs"):
        (machine.proc / "1" / name).mkdir(parents=True)
    assert machine.touched().read() is None
    assert not machine.touched().forget()


def test_the_kernel_tells_what_this_process_touches(tmp_path):
    (tmp_path / "cgroup.procs").write_text(f"{os.getpid()}\n")
    (tmp_path / "file").write_bytes(b"x" * (64 << 20))
    touched = TouchedMemory(tmp_path)
    with (tmp_path / "file").open("rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as pages:
        assert len(pages[:: mmap.PAGESIZE]) == (64 << 20) // mmap.PAGESIZE
        if not touched.forget() or touched.read() is None:
            pytest.skip("this kernel does not tell what is touched")
        assert len(pages[: 16 << 20 : mmap.PAGESIZE])
        few = touched.read()
        assert len(pages[:: mmap.PAGESIZE])
        assert 40 << 20 < touched.read() - few < 64 << 20

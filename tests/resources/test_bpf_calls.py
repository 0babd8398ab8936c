"""What holds an eBPF program, with a kernel of our own making."""

import os
from contextlib import closing

import pytest
from forked import in_child

from quantum_control.resources import bpf_calls
from quantum_control.resources.bpf_calls import PROG_QUERY, SockOpsProgram
from quantum_control.resources.socket_bpf import shipped_object


@pytest.fixture
def opened(monkeypatch):
    """Descriptors that the kernel has given for maps, the program and its link."""
    opened = []

    def call(command, _):
        if command == PROG_QUERY:
            return 0
        opened.append(os.open(os.devnull, os.O_RDONLY))
        return opened[-1]

    monkeypatch.setattr(bpf_calls, "call", call)
    return opened


def is_open(descriptor):
    try:
        os.fstat(descriptor)
    except OSError:
        return False
    return True


def test_a_forked_child_holds_nothing_that_keeps_the_program_attached(opened, tmp_path):
    program = SockOpsProgram(shipped_object(), tmp_path)
    assert len(opened) == 4  # two maps, the program and the link

    def child():
        assert not any(map(is_open, opened))
        program.close()

    with closing(program):
        assert in_child(child) == 0
        assert all(map(is_open, opened))
    assert not any(map(is_open, opened))

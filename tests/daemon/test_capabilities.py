"""Which capabilities a resource takes, and that the unit of systemd leaves those and no other."""

import os
import re
from pathlib import Path

import pytest

from quantum_control.daemon import capabilities
from quantum_control.daemon.capabilities import NUMBERS, effective, missing, needed

UNIT = Path(__file__).parents[2] / "packaging" / "quantum-control.service"


@pytest.mark.parametrize(
    ("kind", "options", "names"),
    [
        ("threads", {"pool_name": "x"}, set()),
        ("buffer", {"interface": "eth0"}, {"CAP_NET_ADMIN"}),
        ("buffer", {"control": "ebpf"}, {"CAP_NET_ADMIN", "CAP_BPF"}),
        ("buffer", {"control": "sysctl", "netns": "blue"}, {"CAP_SYS_ADMIN"}),
        ("memory", {"control": "cgroup"}, set()),
        ("memory", {"process_id": 1}, set()),
        ("memory", {"process_id": 999_999_999}, set()),
    ],
)
def test_what_it_takes_as_root(monkeypatch, kind, options, names):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert needed(kind, options) == names


def test_what_it_takes_as_somebody_else(monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert needed("memory", {"control": "cgroup"}) == {"CAP_DAC_OVERRIDE"}
    assert needed("memory", {"process_id": 1}) == {"CAP_KILL", "CAP_SYS_PTRACE"}
    assert needed("buffer", {"control": "sysctl"}) == {"CAP_NET_ADMIN"}


def test_a_type_of_a_plug_in_says_it_itself(monkeypatch):
    class Dial:
        @staticmethod
        def capabilities(options):
            return {f"CAP_{options['which']}"}

    monkeypatch.setattr(capabilities, "resource_type", lambda kind: Dial)
    assert needed("dial", {"which": "SYS_NICE"}) == {"CAP_SYS_NICE"}
    assert missing("dial", {"which": "SYS_NICE"}) == ["CAP_SYS_NICE"]


def test_the_effective_ones_are_read_from_the_kernel(tmp_path):
    status = tmp_path / "status"
    status.write_text("Name:\tx\nCapEff:\t0000008000001000\nSeccomp:\t0\n", encoding="ascii")
    assert effective(status) == {"CAP_NET_ADMIN", "CAP_BPF"}
    assert effective() <= set(NUMBERS)


def test_the_unit_leaves_what_the_resources_take_and_names_the_rest():
    text = UNIT.read_text(encoding="utf-8")
    (left,) = re.findall(r"^CapabilityBoundingSet=(.*)$", text, re.MULTILINE)
    plain = [{"interface": "eth0"}, {"control": "sysctl"}, {"control": "ebpf"}]
    assert set(left.split()) == set().union(*(needed("buffer", options) for options in plain))
    assert set(NUMBERS) <= set(re.findall(r"CAP_[A-Z_]+", text))

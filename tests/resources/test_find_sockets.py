"""Socket buffers that could be steered here."""

import pytest

from quantum_control.resources.find_sockets import find
from quantum_control.resources.socket_sysctl import RECEIVE, SEND
from quantum_control.resources.sysctls import ROOT


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "net"
    (root / "ipv4").mkdir(parents=True)
    (root / "ipv4/tcp_rmem").write_text("4096\t131072\t6291456\n")
    (root / "ipv4/tcp_wmem").write_text("4096\t16384\t4194304\n")
    return root


def test_the_own_namespace_is_found_with_what_it_has_now(root, tmp_path):
    (found,) = find(tmp_path / "none", root)
    assert (found.kind, found.name) == ("buffer", "sockets")
    assert found.options == {"control": "sysctl"}
    assert "6291456 bytes" in found.note
    assert "4194304" in found.note


def test_a_name_that_cannot_be_entered_and_a_machine_without_tcp_are_left_out(root, tmp_path):
    names = tmp_path / "names"
    names.mkdir()
    (names / "stale").touch()
    assert [each.name for each in find(names, root)] == ["sockets"]
    assert list(find(names, tmp_path / "nothing")) == []


def state(root):
    """All there is in a folder, and when it was last written to."""
    return {
        path: (path.stat().st_mtime_ns, path.is_file() and path.read_text())
        for path in sorted(root.rglob("*"))
    }


def test_looking_writes_nothing(root, tmp_path):
    before = state(root)
    assert len(before) == 3
    assert list(find(tmp_path / "none", root))
    assert state(root) == before


def test_what_is_found_here_is_as_it_was_after_a_look():
    files = [ROOT / name for name in (RECEIVE, SEND) if (ROOT / name).exists()]
    before = [file.read_text() for file in files]
    found = list(find())
    assert all(each.options["control"] == "sysctl" for each in found)
    assert [file.read_text() for file in files] == before

"""Reading an eBPF object."""

import struct

import pytest

from quantum_control.core.errors import ConfigError
from quantum_control.resources.bpf_object import INSTRUCTION, LOAD_64, read_object
from quantum_control.resources.socket_bpf import SECTION, cgroup2_root, shipped_object


def test_the_shipped_object_has_its_maps_and_says_where_they_are_used():
    shipped = shipped_object()
    assert {name: (made.key_size, made.value_size, made.entries) for name, made in shipped.maps.items()} == {
        "settings_map": (4, 16, 1),
        "counts_map": (4, 16, 1),
    }
    assert {name for _, name in shipped.uses} == set(shipped.maps)
    assert len(shipped.instructions) % INSTRUCTION == 0
    assert shipped.license.startswith(b"Apache-2.0")


def test_linking_puts_the_descriptors_in_and_changes_nothing_else():
    shipped = shipped_object()
    linked = shipped.linked({"settings_map": 77, "counts_map": 78})
    for at, name in shipped.uses:
        assert linked[at] == LOAD_64
        assert linked[at + 1] >> 4 == 1
        assert struct.unpack_from("<i", linked, at + 4)[0] == {"settings_map": 77, "counts_map": 78}[name]
    touched = {place for at, _ in shipped.uses for place in (at + 1, *range(at + 4, at + 8))}
    kept = [i for i in range(len(linked)) if i not in touched]
    assert [linked[i] for i in kept] == [shipped.instructions[i] for i in kept]


@pytest.mark.parametrize("data", [b"", b"\x7fELF", bytes(64), b"\x7fELF\x02\x01" + bytes(200)])
def test_what_is_no_object_is_refused(data):
    with pytest.raises(ConfigError, match="eBPF object"):
        read_object(data, SECTION)


def test_a_section_that_is_not_there_is_told():
    from importlib.resources import files

    data = (files("quantum_control.resources") / "bpf" / "socket_buffers.bpf.o").read_bytes()
    with pytest.raises(ConfigError, match="'kprobe'"):
        read_object(data, "kprobe")


def test_the_cgroup_hierarchy_is_found_wherever_it_is_mounted(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /somewhere/unified cgroup2 rw 0 0\n")
    assert str(cgroup2_root(mounts)) == "/somewhere/unified"
    mounts.write_text("tmpfs /tmp tmpfs rw 0 0\n")
    with pytest.raises(ConfigError, match="no cgroup v2 hierarchy"):
        cgroup2_root(mounts)

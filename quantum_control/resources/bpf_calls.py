"""The bpf() system call, as far as a program of a cgroup and its arrays need it."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from quantum_control.core.errors import ActuatorError, SensorError
from quantum_control.core.forked import forget_in_child
from quantum_control.resources.bpf_object import INSTRUCTION, BpfObject, MapDefinition

NUMBERS = {"x86_64": 321, "aarch64": 280, "riscv64": 280, "ppc64le": 361}
"""Of the system call, by machine; those whose byte order the object has."""

MAP_CREATE, MAP_LOOKUP, MAP_UPDATE, PROG_LOAD, PROG_QUERY, LINK_CREATE = 0, 1, 2, 5, 16, 28
PROG_TYPE_SOCK_OPS = 13
CGROUP_SOCK_OPS = 3
"""Of <linux/bpf.h>."""

MOST_PROGRAMS = 64
"""That a cgroup may have of one kind (BPF_CGROUP_MAX_PROGS)."""

_libc = ctypes.CDLL(None, use_errno=True)


class SockOpsProgram:
    """A sock_ops program that is loaded, and attached to a cgroup, while this object is open.

    The kernel detaches it when the last file descriptor of the link is gone: with
    `close()`, or with this process, however that ends. Nothing is pinned. A forked child
    lets go of it at once.

    Parameters
    ----------
    program
        What to load.
    cgroup
        Path of a directory of a cgroup v2 hierarchy.

    Raises
    ------
    ActuatorError
        The kernel, the privilege or the cgroup does not allow it; the message says which. Nothing is left.
    """

    def __init__(self, program: BpfObject, cgroup: str | os.PathLike[str]) -> None:
        with ExitStack() as opened:
            self._maps: dict[str, int] = {}
            for name, made in program.maps.items():
                self._maps[name] = _create_map(made)
                opened.callback(os.close, self._maps[name])
            self._sizes = {name: made.value_size for name, made in program.maps.items()}
            loaded = _load(program.linked(self._maps), program.license)
            opened.callback(os.close, loaded)
            try:
                self._cgroup = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            except OSError as error:
                raise ActuatorError(f"cgroup {os.fspath(cgroup)}: {error.strerror}") from error
            opened.callback(os.close, self._cgroup)
            try:
                others = attached(self._cgroup)
            except SensorError as error:
                raise ActuatorError(f"attaching the eBPF program to {os.fspath(cgroup)}: {error}") from error
            link = _attach(loaded, self._cgroup, cgroup)
            opened.callback(os.close, link)
            self._own = attached(self._cgroup) - others
            self._opened = opened.pop_all()
            forget_in_child(self)

    def write(self, name: str, value: bytes) -> None:
        """Set the only entry of an array.

        Raises
        ------
        ActuatorError
            The kernel refuses it.
        """
        held, key = ctypes.create_string_buffer(value, len(value)), ctypes.c_uint32(0)
        try:
            call(MAP_UPDATE, _entry(self._maps[name], key, held))
        except OSError as error:
            raise ActuatorError(f"writing the eBPF map {name}: {error.strerror}") from error

    def read(self, name: str) -> bytes:
        """Bytes of the only entry of an array.

        Raises
        ------
        SensorError
            The kernel refuses it.
        """
        held, key = ctypes.create_string_buffer(self._sizes[name]), ctypes.c_uint32(0)
        try:
            call(MAP_LOOKUP, _entry(self._maps[name], key, held))
        except OSError as error:
            raise SensorError(f"reading the eBPF map {name}: {error.strerror}") from error
        return held.raw

    def attached(self) -> bool:
        """Whether the cgroup still has the program: somebody else may have detached it.

        Raises
        ------
        SensorError
            The kernel refuses the question.
        """
        return self._own <= attached(self._cgroup)

    def close(self) -> None:
        """Detach the program, and let go of all that belongs to it."""
        self._opened.close()

    def forget(self) -> None:
        """Close a forked child's descriptors: the program is attached no longer than its parent wants it."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def attached(cgroup: int) -> set[int]:
    """Numbers of the sock_ops programs that the cgroup of this file descriptor has.

    Raises
    ------
    SensorError
        It is not there any more, or may not be asked.
    """
    ids = (ctypes.c_uint32 * MOST_PROGRAMS)()
    question = ctypes.create_string_buffer(
        struct.pack("=IIIIQI4x", cgroup, CGROUP_SOCK_OPS, 0, 0, ctypes.addressof(ids), MOST_PROGRAMS), 64
    )
    try:
        call(PROG_QUERY, question)
    except OSError as error:
        raise SensorError(f"asking for the eBPF programs of a cgroup: {_why(error)}") from error
    return set(ids[: struct.unpack_from("=I", question.raw, 24)[0]])


def _create_map(made: MapDefinition) -> int:
    try:
        return call(
            MAP_CREATE,
            struct.pack("=5I", made.kind, made.key_size, made.value_size, made.entries, made.flags),
        )
    except OSError as error:
        raise ActuatorError(f"making an eBPF map: {_why(error)}") from error


def _load(instructions: bytes, license_: bytes) -> int:
    code = ctypes.create_string_buffer(instructions, len(instructions))
    terms = ctypes.create_string_buffer(license_)
    question = struct.pack(
        "=IIQQIIQII16s",
        PROG_TYPE_SOCK_OPS,
        len(instructions) // INSTRUCTION,
        ctypes.addressof(code),
        ctypes.addressof(terms),
        *(0, 0, 0, 0, 0),  # no log, no kernel version, no flags
        b"socket_buffers",
    )
    try:
        return call(PROG_LOAD, question)
    except OSError as error:
        raise ActuatorError(f"loading the eBPF program: {_why(error)}") from error


def _attach(program: int, cgroup: int, name: str | os.PathLike[str]) -> int:
    try:
        return call(LINK_CREATE, struct.pack("=IIII", program, cgroup, CGROUP_SOCK_OPS, 0))
    except OSError as error:
        raise ActuatorError(f"attaching the eBPF program to {os.fspath(name)}: {_why(error)}") from error


def _entry(descriptor: int, key: ctypes.c_uint32, value: ctypes.Array[ctypes.c_char]) -> bytes:
    return struct.pack("=I4xQQQ", descriptor, ctypes.addressof(key), ctypes.addressof(value), 0)


def _why(error: OSError) -> str:
    """What to do about it."""
    reasons: Mapping[int, str] = {
        errno.EPERM: "it needs root, or CAP_BPF and CAP_NET_ADMIN",
        errno.EACCES: "the kernel's verifier does not allow it",
        errno.EBADF: "the directory is none of a cgroup v2",
        errno.EINVAL: "this kernel is older than Linux 5.7, or built without CONFIG_CGROUP_BPF",
        errno.ENOSYS: "this kernel is built without CONFIG_BPF_SYSCALL, or a sandbox forbids bpf()",
    }
    hint = reasons.get(error.errno or 0, "")
    return f"{error.strerror}; {hint}; control='sysctl' needs no eBPF" if hint else f"{error.strerror}"


def call(command: int, attributes: bytes | ctypes.Array[ctypes.c_char]) -> int:
    """Call bpf(); what it returns.

    Raises
    ------
    OSError
        It failed, or its number is not known for this machine.
    """
    number = NUMBERS.get(platform.machine())
    if number is None:
        raise OSError(errno.ENOSYS, f"bpf() is not known on {platform.machine()}")
    held = (
        ctypes.create_string_buffer(attributes, len(attributes))
        if isinstance(attributes, bytes)
        else attributes
    )
    answer = _libc.syscall(number, command, ctypes.byref(held), ctypes.c_uint(len(held)))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return int(answer)

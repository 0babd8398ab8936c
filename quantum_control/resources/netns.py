"""Work in another network namespace, from a thread that enters it and ends there."""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from quantum_control.core.errors import ConfigError, GoneError, SensorError

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""Of <sched.h>: the kind of namespace meant."""

SO_NETNS_COOKIE = 71
"""Of <asm-generic/socket.h>: the option by which a socket tells its network namespace; Linux 5.14."""

OWN = Path("/proc/thread-self/ns/net")
"""The network namespace of the calling thread."""

NAMED = Path("/run/netns")
"""Where `ip netns add` keeps its names."""

_libc = ctypes.CDLL(None, use_errno=True)


def netns_path(netns: str | os.PathLike[str]) -> Path:
    """Path of a network namespace given as a name of `ip netns` or as a path such as /proc/123/ns/net."""
    given = os.fspath(netns)
    return Path(given) if "/" in given else NAMED / given


def netns_identity() -> str:
    """What tells the network namespace of the calling thread from all others of this machine.

    A cookie that the kernel never gives twice ("cookie 7"). Kernels before Linux
    5.14 have only the inode number, which a namespace made later may get once
    this one has ended ("inode 4026532001").

    Raises
    ------
    SensorError
        The kernel cannot be asked.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC) as asked:
            cookie = asked.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8)
    except OSError as error:
        if error.errno == errno.ENOPROTOOPT:
            return f"inode {OWN.stat().st_ino}"
        raise SensorError(f"asking for the identity of a network namespace: {error.strerror}") from error
    return f"cookie {int.from_bytes(cookie, sys.byteorder)}"


def enter_new_netns() -> None:
    """Move the calling thread, and no other, into a network namespace of its own.

    Raises
    ------
    ConfigError
        The privilege is missing.
    """
    if _libc.unshare(CLONE_NEWNET):
        raise ConfigError(
            f"making a network namespace: {os.strerror(ctypes.get_errno())}; it needs root (CAP_SYS_ADMIN)"
        )


def enter_netns(netns: str | os.PathLike[str]) -> None:
    """Move the calling thread, and no other, into an existing network namespace.

    Raises
    ------
    GoneError
        There is no such namespace.
    SensorError
        The privilege is missing.
    """
    path = netns_path(netns)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        kind = GoneError if error.errno == errno.ENOENT else SensorError
        raise kind(
            f"network namespace {path}: {error.strerror}; `ip netns list` shows the names there are"
        ) from error
    try:
        if _libc.setns(descriptor, CLONE_NEWNET):
            raise SensorError(
                f"entering network namespace {path}: {os.strerror(ctypes.get_errno())};"
                " it needs root (CAP_SYS_ADMIN)"
            )
    finally:
        os.close(descriptor)


def inside(netns: str | os.PathLike[str] | None, call: Callable[[], T]) -> T:
    """What `call` returns in the network namespace `netns` (None: in the one of the caller).

    What it opens there, such as a socket, goes on belonging to that namespace.

    Raises
    ------
    GoneError, SensorError
        As `enter_netns`; and whatever `call` raises.
    """
    if netns is None:
        return call()
    results: list[T] = []
    failures: list[BaseException] = []

    def work() -> None:
        try:
            enter_netns(netns)
            results.append(call())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller
            failures.append(error)

    # A thread that has ended in a namespace takes nothing back with it, so that the caller's stays.
    thread = threading.Thread(target=work, name="quantum_control(netns)")
    thread.start()
    thread.join()
    if failures:
        raise failures[0]
    return results[0]

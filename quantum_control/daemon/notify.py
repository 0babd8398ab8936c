"""Telling systemd how it goes (sd_notify(3)); does nothing where nobody asked to be told."""

from __future__ import annotations

import os
import socket
import time


def notify(*states: str) -> None:
    """Send states such as "READY=1"."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    if address.startswith("@"):  # an abstract address
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as end:
        try:
            end.sendto("\n".join(states).encode(), address)
        except OSError:  # steering does not depend on being watched
            return


def reloading() -> None:
    """Say that the configuration is being read anew; "READY=1" ends it."""
    notify("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

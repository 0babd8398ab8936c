"""What of this machine's own network a test must not have touched."""

import os
import subprocess
from pathlib import Path
from shutil import which

from integration.requirements import require

SYSCTLS = ("net.core", "net.ipv4")


def require_namespaces():
    require(
        os.geteuid() == 0 and which("tc") and Path("/dev/net/tun").exists(),
        "network namespaces need root, iproute2 (scripts/install-servers) and /dev/net/tun",
    )


def host_network():
    """Interfaces, addresses, routes, queue disciplines, sysctls and named namespaces, as text."""
    commands = (
        "ip -o link",
        "ip -o addr",
        "ip route",
        "tc qdisc show",
        "tc class show dev lo",
        "ip netns list",
    )
    told = {
        each: subprocess.run(each.split(), capture_output=True, text=True).stdout  # noqa: S603 - fixed commands
        for each in commands
    }
    for root in SYSCTLS:
        for path in sorted(Path("/proc/sys", root.replace(".", "/")).rglob("*")):
            # Those that count or cannot be read are no settings.
            if path.is_file() and path.stat().st_mode & 0o200 and path.name != "flush":
                try:
                    told[str(path)] = path.read_text()
                except OSError:
                    continue
    return told


def children():
    """Process ids of what this process has started and what is still there."""
    lists = Path(f"/proc/{os.getpid()}/task").glob("*/children")
    return {child for each in lists for child in each.read_text().split()}

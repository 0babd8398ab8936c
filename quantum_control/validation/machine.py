"""What an experiment runs on, and by what version of everything; written down at every start."""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import quantum_control
from quantum_control.core.errors import ConfigError
from quantum_control.validation.tables import write

MACHINE = "machine.json"

LIBRARIES = ("quantum-control", "numpy", "scipy", "statsmodels", "matplotlib", "psycopg", "psycopg_pool")

REPORTING = ("scipy", "statsmodels", "matplotlib")
"""What the report takes: it is made after hours, which is too late to find one missing."""

GIT_SECONDS = 10.0


def check_libraries() -> None:
    """Refuse to begin what could not be reported.

    Raises
    ------
    ConfigError
        A library is missing.
    """
    lacking = [name for name in REPORTING if find_spec(name) is None]
    if lacking:
        raise ConfigError(
            f"the report of an experiment needs {', '.join(lacking)}; install it before the run:"
            " pip install 'quantum-control[bench]'"
        )


def add_start(folder: Path, versions: Mapping[str, str]) -> None:
    """Add this start to those of an experiment; `versions` are those of its servers."""
    path = folder / MACHINE
    kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    # Data of an older version have one machine, without a list.
    starts = kept.get("starts", [kept] if kept else [])
    write(path, json.dumps({"starts": [*starts, machine(versions)]}, indent=1) + "\n")


def machine(versions: Mapping[str, str]) -> dict[str, Any]:
    """Say what this process runs on."""
    found: dict[str, Any] = {
        "time": round(time.time(), 3),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "usable": _usable(),
        "system": platform.platform(),
        "python": platform.python_version(),
    }
    for library in LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            continue
    made_of = commit(Path(quantum_control.__file__).parent)
    return found | dict(versions) | ({"commit": made_of} if made_of else {})


def commit(package: Path) -> str | None:
    """Commit of a package that runs from its checkout, with `-dirty` if that was changed; None elsewhere."""
    git = shutil.which("git")
    # An installed package may lie in somebody else's checkout.
    if git is None or not (package.parent / ".git").exists():
        return None
    try:
        told = subprocess.run(  # noqa: S603 - git
            [git, "describe", "--always", "--dirty"],
            cwd=package,
            capture_output=True,
            text=True,
            timeout=GIT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return told.stdout.strip() or None


def _usable() -> int | None:
    """Cores that this process may run on: fewer if it was pinned."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return "unknown"

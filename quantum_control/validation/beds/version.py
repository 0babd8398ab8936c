"""What a program says of its version."""

from __future__ import annotations

import subprocess

SECONDS = 30.0
"""Longest that it may take to say so."""


def version_of(program: str | None, option: str) -> str:
    """First line that it prints when asked; "not installed" or "unknown" where there is none."""
    if program is None:
        return "not installed"
    try:
        said = subprocess.run(  # noqa: S603 - the program that is measured
            [program, option], capture_output=True, text=True, timeout=SECONDS, check=False
        ).stdout.splitlines()
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return said[0].strip() if said else "unknown"

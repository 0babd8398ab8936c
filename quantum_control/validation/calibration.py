"""What the arms know beforehand: measured once, and kept with the data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from quantum_control.core.errors import ConfigError
from quantum_control.validation.bed import Bed, Turn
from quantum_control.validation.tables import write


def calibrated(
    path: Path, bed: Bed, turns: list[Turn], tell: Callable[[str], object], *, begun: bool
) -> dict[str, Any]:
    """Calibrate a bed for turns, or read what was kept of that.

    Parameters
    ----------
    path
        Where it is kept.
    bed, turns, tell
        As `Bed.calibrate` has them.
    begun
        Whether there are pairs that were played by what is kept.

    Raises
    ------
    ConfigError
        They were played by one for another number of turns.
    """
    if path.exists():
        kept: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        made = kept.get("pairs", len(turns))
        if made == len(turns):
            return kept
        if begun:
            raise ConfigError(
                f"{path.parent} has pairs played with the best fixed size of {made} pairs, which may be"
                f" another one for {len(turns)}: give --pairs {made}, or another --out"
            )
    kept = {"pairs": len(turns), **bed.calibrate(turns, tell)}
    write(path, json.dumps(kept, indent=1) + "\n")
    return kept

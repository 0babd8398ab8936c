"""Settings of a benchmark, kept with its raw data, so that runs of others are not mixed in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

from quantum_control.core.errors import ConfigError

FILE = "settings.json"
"""Name of the file, in the folder of the raw data."""


def keep_settings(folder: Path, settings: Mapping[str, object]) -> None:
    """Keep the settings, and the number of processors, with the data.

    What runs at the same time is a setting, too: it is part of what is measured.

    Raises
    ------
    ConfigError
        The folder has data of others, which are not to be mixed in.
    """
    path, asked = folder / FILE, json.loads(json.dumps({**settings, "cores": os.cpu_count()}))
    if not path.exists():
        path.write_text(json.dumps(asked, indent=1) + "\n")
        return
    kept = json.loads(path.read_text())
    # Data that are older than this figure are taken for this machine's.
    if {"cores": asked["cores"]} | kept != asked:
        raise ConfigError(f"{folder} has the data of {kept}, not of {asked}; give another folder")

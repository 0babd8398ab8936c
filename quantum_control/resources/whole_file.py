"""Replaces a file that others watch or read: whole or not at all, with its owner and mode."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Move a new file with this content into the place of `path`, which exists.

    It has the mode of the old one, and as far as privilege allows its owner. A
    symbolic link stays one: what it leads to is replaced, in its own directory.

    Raises
    ------
    OSError
        Nothing has changed.
    """
    temporary = ""
    try:
        path = path.resolve(strict=True)
        status = path.stat()
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".quantum-control-", delete=False) as file:
            temporary = file.name
            file.write(content)
            file.flush()
            os.fchmod(file.fileno(), status.st_mode & 0o7777)
            if os.geteuid() == 0:
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fsync(file.fileno())
        Path(temporary).replace(path)
    except OSError:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        raise

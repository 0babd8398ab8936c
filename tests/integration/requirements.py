"""What an integration test needs from the machine."""

from __future__ import annotations

import os

import pytest


def require(condition: object, reason: str) -> None:
    """Skip the test, saying why, unless `condition` holds; fail it where nothing may be missing.

    `reason` names the missing part and how to get it.
    """
    if condition:
        return
    if os.environ.get("QC_REQUIRE_ALL") == "1":
        pytest.fail(f"required here (QC_REQUIRE_ALL=1): {reason}")
    pytest.skip(reason)

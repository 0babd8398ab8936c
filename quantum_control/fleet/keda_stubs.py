"""Makes the Python modules of the contract; a step of development, never of a run.

    python -m quantum_control.fleet.keda_stubs

writes them anew. It needs grpcio-tools, which the extra [dev] brings.
"""

from __future__ import annotations

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]

CONTRACT = Path("quantum_control/fleet/keda_externalscaler.proto")

HEADER = """\
# Made by quantum_control.fleet.keda_stubs: do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors
"""


def stubs() -> dict[str, str]:
    """Text of each module by its file's name.

    Raises
    ------
    RuntimeError
        The compiler refuses the contract.
    """
    from grpc_tools import protoc  # type: ignore[import-untyped]

    with TemporaryDirectory() as folder:
        outputs = [f"--{kind}_out={folder}" for kind in ("python", "pyi", "grpc_python")]
        if protoc.main(["protoc", f"-I{ROOT}", *outputs, str(ROOT / CONTRACT)]):
            raise RuntimeError(f"the compiler refuses {CONTRACT}")
        return {
            path.name: HEADER + path.read_text(encoding="utf-8")
            for path in sorted((Path(folder) / CONTRACT.parent).iterdir())
        }


if __name__ == "__main__":
    for name, text in stubs().items():
        (ROOT / CONTRACT.parent / name).write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {CONTRACT.parent / name}\n")

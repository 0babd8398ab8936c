"""Memory of the machine that a process holds."""

from __future__ import annotations

from pathlib import Path

from quantum_control.core.errors import SensorError

PARTS = ("RssAnon", "RssFile", "RssShmem")


def resident_bytes(pid: int, shared_most: int, proc: Path = Path("/proc")) -> int:
    """Bytes resident, by `/proc/PID/status`.

    Parameters
    ----------
    shared_most
        Bytes of shared memory that the process can have. Before JDK 21, ZGC
        maps its heap three times over, and the kernel counts each mapping: VmRSS is up to
        three heaps too large. (`smaps_rollup` has it right, for 50 ms of a GiB.)

    Raises
    ------
    SensorError
        There is no such process, or its file has no such lines.
    """
    path = proc / str(pid) / "status"
    try:
        lines = dict(
            line.split(":", 1) for line in path.read_text(encoding="utf-8", errors="replace").splitlines()
        )
        anonymous, files, shared = (1024 * int(lines[name].split()[0]) for name in PARTS)
    except (OSError, KeyError, ValueError, IndexError) as error:
        raise SensorError(f"{path} does not tell what is resident: {error!r}") from error
    return anonymous + files + min(shared, shared_most)

"""Memory of this process, and of one that nothing has run in before (Linux)."""

import os
import subprocess
import sys
from pathlib import Path


def resident(field: str) -> int:
    """The process's memory in bytes: now (`VmRSS`), or at its peak (`VmHWM`)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))


def restart_peak() -> None:
    """The peak starts anew from what there is now."""
    Path("/proc/self/clear_refs").write_text("5")


def in_a_fresh_process(script: str, *arguments: str) -> str:
    """What a script prints where nothing earlier has left memory behind.

    glibc gives large blocks back there, and keeps up to twice as much otherwise.
    """
    done = subprocess.run(
        [sys.executable, script, *arguments],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "65536"},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout

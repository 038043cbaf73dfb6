"""Turns the end of a child's log into one sentence that names the fix."""

from __future__ import annotations

import os
from pathlib import Path

TAIL = 8_192  # bytes
FIXES = {
    "No space left on device": "the disk is full; free at least 2 GB, or set TILLSTREAM_HOME to a folder on "
    "another disk",
    "Disk quota exceeded": "the disk quota is used up; free at least 2 GB, or set TILLSTREAM_HOME to a folder "
    "on another disk",
    "Address already in use": "another program took its port; start again, and a free port is chosen",
    "Permission denied": "it may not read or write its folder; give yourself access to it, or set "
    "TILLSTREAM_HOME to a folder of yours",
    "could not create shared memory": "the system is short of shared memory; stop other databases and start again",
    "OutOfMemoryError": "it ran out of memory; close other programs and start again",
    "Cannot allocate memory": "it ran out of memory; close other programs and start again",
    "UnsupportedClassVersionError": "the Java that was found is too old; install Java 17 or newer, or unset JAVA_HOME",
}


def explain_failure(name: str, what: str, log: Path) -> str:
    """Return a sentence on why child `name` failed: `what` it did, the reason in its log, and the fix."""
    return f"{name} did not start ({what}): {find_reason(read_tail(log))}. Its log: {log}"


def find_reason(words: str) -> str:
    """Return the fix for trouble that `words` of a program tell of, else the last of them."""
    for text, fix in FIXES.items():
        if text in words:
            return fix
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return f"its last words: {lines[-1]}" if lines else "it said nothing"


def read_tail(log: Path) -> str:
    """Return the last 8 KB of `log` as text; empty if there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            return file.read().decode(errors="replace")
    except OSError:
        return ""

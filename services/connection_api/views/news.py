"""What is new: the newest entries of the changelog that is shipped with the package."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

SERVICES = Path(__file__).resolve().parents[2]
# Beside the sources and in the image; a wheel has it within `services`.
PLACES = (SERVICES.parent / "CHANGELOG.md", SERVICES / "CHANGELOG.md")
MOST = 6  # entries
ENTRY = re.compile(r"^- (.+)$", re.MULTILINE)
LINK = re.compile(r"\[([^\]]+)\]\([^)]+\)")
MARKS = re.compile(r"[`*]")
ADDED = "### Added"


def read_news(places: Sequence[Path] = PLACES) -> Sequence[str]:
    """Return the newest entries as plain text, the newest first; none where no changelog is shipped."""
    for place in places:
        if place.is_file():
            return newest(place.read_text("utf-8"))
    return ()


def newest(changelog: str) -> Sequence[str]:
    """Return the first entries below the first *Added*. Pure."""
    _, _, added = changelog.partition(ADDED)
    section = added.partition("\n#")[0]
    return [MARKS.sub("", LINK.sub(r"\1", entry)) for entry in ENTRY.findall(section)[:MOST]]

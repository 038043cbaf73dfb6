"""What is kept how long, as people read it: derived from the rules by which it is deleted."""

from __future__ import annotations

from collections.abc import Sequence

from shared.retention import EXPIRING, LASTING, LETTERS_LIFE, spell
from shared.topics import TOPICS


def kept() -> Sequence[tuple[str, str]]:
    """Return what is kept, and how long."""
    expiring = [(one.what, one.how_long) for one in EXPIRING.values() if one.what]
    letters = ("Failed records", spell(LETTERS_LIFE))
    topics = [(f"Records in Kafka: {topic.noun}", f"At most {spell(topic.longest_life)}") for topic in TOPICS]
    return [*LASTING.items(), expiring[0], letters, *expiring[1:], *topics]

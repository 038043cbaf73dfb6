"""The topics: one table from which they are made, named and documented."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

HOUR_MS = 3_600_000
# Kafka deletes by whole segments, and one that is written to is none to delete: without it, what comes rarely stays for
# a week more.
SEGMENT_MS = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's noun, what its key orders, and how long its records stay."""

    noun: str
    key: str
    producer: str
    consumer: str
    retention_ms: int
    is_partitioned: bool = True

    @property
    def longest_life(self) -> timedelta:
        """How long a record can be there: its time, that of its segment, and an hour for Kafka to look and delete."""
        return timedelta(milliseconds=self.retention_ms + SEGMENT_MS + HOUR_MS)

    def name(self, prefix: str) -> str:
        """The name on the broker, such as `tillstream.events.v1`."""
        return f"{prefix}.{self.noun}.v1"


EVENTS = Topic("events", "connection_id:object_id", "webhook_gateway, sync_worker", "destination_writer", 168 * HOUR_MS)
SNAPSHOTS = Topic("snapshots", "connection_id:object_id", "sync_worker", "destination_writer", 48 * HOUR_MS)
COMMANDS = Topic("commands", "connection_id", "connection_api", "sync_worker", 168 * HOUR_MS)
DEAD_LETTERS = Topic(
    "dead-letters",
    "connection_id",
    "every service",
    "destination_writer",
    168 * HOUR_MS,
    is_partitioned=False,
)
TOPICS = (EVENTS, SNAPSHOTS, COMMANDS, DEAD_LETTERS)


def record_key(connection_id: str, object_id: str) -> bytes:
    """The key under which all versions of one object meet in one partition."""
    return f"{connection_id}:{object_id}".encode()


def group(prefix: str, topic: Topic, life: int = 1) -> str:
    """The consumer group that reads `topic`; the offsets that it has committed mean nothing in another life."""
    return f"{prefix}.{topic.noun}" if life == 1 else f"{prefix}.{topic.noun}.{life}"

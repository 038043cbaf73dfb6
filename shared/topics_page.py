"""The topics as a page to read, for consumers of one's own: `python -m shared.topics_page > docs/topics.md`."""

from __future__ import annotations

import sys

from shared.kafka import MAX_RECORD_BYTES
from shared.topics import DEAD_LETTERS, HOUR_MS, TOPICS, Topic

# Header → the topics that have it, and what it says. A header of a flag is there or not; its value is `1`.
HEADERS: dict[str, tuple[str, str]] = {
    "connection": ("events, snapshots", "Id of the connection."),
    "account": ("events, snapshots", "Id of its Stripe account. Not on what was replayed from the dead letters."),
    "mode": ("events, snapshots", "`live` or `test`. Not on what was replayed from the dead letters."),
    "received_at_ms": ("events", "When the event came in, in milliseconds of our clock. For latency alone."),
    "resource": ("snapshots", "Name of the resource, such as `charge`: see [resources](resources.md)."),
    "stamp": ("snapshots", "The version: seconds of Stripe's clock. The state is at least as new as that."),
    "origin": ("snapshots", "`listed`, `refetched`, or `event` for an event that was refused once and is replayed."),
    "slice": ("snapshots", "Number of the slice that fetched it; only for our own accounting."),
    "deleted": ("snapshots", "Flag: the object is deleted at Stripe."),
    "parent": ("snapshots", "Id of the parent: the body is a list with a part of its children."),
    "complete": ("snapshots", "Flag, with `parent`: the last part of a complete set."),
    "compare": ("snapshots", "Flag: the state is to be compared with a row, and is no change."),
    "dead-letter-…": (
        "dead-letters",
        "What is known of its end: stage, code, reason, and where it lay. Beside the record's own headers.",
    ),
    "replay": (
        "events, snapshots",
        "It comes from the dead letters, once more: number of the letter, and id of the destination.",
    ),
}
INTRODUCTION = """\
# Topics

What lies on Kafka, and the rules by which a consumer of one's own can read it.
This page is made by `python -m shared.topics_page > docs/topics.md`.

Names begin with `TILLSTREAM_TOPIC_PREFIX`, by default `tillstream`. Read with a consumer group of your own: ours are
`tillstream.<noun>`, and a second member in one of them would take records away from the writer.

| topic | key | written by | read by | partitions | kept |
|---|---|---|---|---|---|
"""
RULES = f"""
## Rules

- **Bodies are Stripe's bytes**, never written anew: on `events` the whole event, on `snapshots` the object as a list or
  a call gave it. A record has at most {MAX_RECORD_BYTES // 2**20} MiB. On `commands` lies JSON with a `type` and a
  `schema_version`.
- **Order** is per key: all versions of one object meet in one partition of a topic, in the order in which we learned of
  them. That need not be the order in which they came to be, and there is none between `events` and `snapshots`.
- **The newest version wins**: compare `created` of an event with `stamp` of a snapshot, both in seconds of Stripe's
  clock. A version that is older than what you have changes nothing. With equal ones and different bodies, ask Stripe.
- **At least once**: any record may come again. Take `id` of the event, or the key and the version, to know it.
- **Deleted stays deleted**: an event whose type ends in `.deleted` (`customer.subscription.deleted` is a cancellation:
  the subscription lives on), or the header `deleted`.
- **Another API version** than ours in an event (`api_version`) means that its shape may differ from what you expect.
  Its object comes on `snapshots` in our version.
- **What is compared is no change**: pass over records with the header `compare`.
- **New headers may come** in any release: pass over those that you don't know. A changed meaning is another topic
  (`….v2`).
- **A removal takes nothing out of Kafka**: records of a removed connection stay until their time is over.

## Headers

| header | on | says |
|---|---|---|
"""


def render_page() -> str:
    """Return the page in Markdown, ending in a newline."""
    topics = "".join(f"{_row(topic)}\n" for topic in TOPICS)
    headers = "".join(f"| `{name}` | {on} | {says} |\n" for name, (on, says) in HEADERS.items())
    return INTRODUCTION + topics + RULES + headers


def _row(topic: Topic) -> str:
    name, hours = topic.name("tillstream"), topic.retention_ms // HOUR_MS
    partitions = "1" if topic is DEAD_LETTERS else "`TILLSTREAM_TOPIC_PARTITIONS`"
    return f"| `{name}` | {topic.key} | {topic.producer} | {topic.consumer} | {partitions} | {hours // 24} days |"


if __name__ == "__main__":
    sys.stdout.write(render_page())

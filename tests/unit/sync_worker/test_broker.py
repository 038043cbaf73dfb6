"""The mark that shows whether a broker still has what it had."""

from __future__ import annotations

import pytest
from aiokafka import TopicPartition
from aiokafka.structs import OffsetAndMetadata

from services.sync_worker.broker import find_mark
from shared.errors import KafkaUnavailableError

EVENTS, SNAPSHOTS = (TopicPartition(name, 0) for name in ("events", "snapshots"))
NOTHING = OffsetAndMetadata(-1, "")


def mark(name: str) -> OffsetAndMetadata:
    return OffsetAndMetadata(0, name)


@pytest.mark.parametrize(
    ("events", "snapshots", "found"),
    [
        (mark("a"), mark("a"), "a"),
        (mark("a"), mark("b"), None),
        (mark("a"), NOTHING, None),
        (NOTHING, NOTHING, None),
    ],
)
def test_a_mark_holds_where_every_topic_has_it(
    events: OffsetAndMetadata, snapshots: OffsetAndMetadata, found: str | None
) -> None:
    assert find_mark([EVENTS, SNAPSHOTS], {EVENTS: events, SNAPSHOTS: snapshots}) == found


def test_a_broker_that_still_loads_its_groups_has_lost_nothing() -> None:
    with pytest.raises(KafkaUnavailableError):
        find_mark([EVENTS, SNAPSHOTS], {})

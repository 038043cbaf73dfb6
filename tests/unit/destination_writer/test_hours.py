"""Of many events of a resource that come at once, the newest is kept, with the longest time of its second."""

from __future__ import annotations

from services.destination_writer.hours import Arrival, newest_of


def test_newest_of_each_connection_and_resource_is_kept() -> None:
    arrived = [
        Arrival("con_1", "charge", 7, 0.2),
        Arrival("con_1", "charge", 9, None),
        Arrival("con_1", "charge", 9, 0.1),
        Arrival("con_1", "charge", 9, 0.4),
        Arrival("con_1", "charge", 8, 3.0),
        Arrival("con_2", "charge", 5, None),
        Arrival("con_1", "refund", 1, -0.1),
        Arrival("con_1", None, 99, 0.1),
    ]
    assert sorted(newest_of(arrived)) == [
        ("con_1", "charge", 9, 0.4),
        ("con_1", "refund", 1, -0.1),
        ("con_2", "charge", 5, None),
    ]

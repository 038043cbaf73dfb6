from __future__ import annotations

from pathlib import Path

from local_stack.kafka import render_properties


def properties() -> dict[str, str]:
    text = render_properties(Path("/data"), broker=20_001, controller=20_002)
    return dict(line.split("=", 1) for line in text.splitlines())


def test_broker_listens_on_the_loopback_address_alone() -> None:
    found = properties()

    assert found["listeners"] == "BROKER://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002"
    assert found["advertised.listeners"] == "BROKER://127.0.0.1:20001"


def test_one_node_is_enough_for_every_internal_topic() -> None:
    found = properties()
    single = {name: value for name, value in found.items() if name.endswith((".replication.factor", ".min.isr"))}

    assert len(single) == 6
    assert set(single.values()) == {"1"}


def test_topics_are_never_made_by_accident_and_hold_a_whole_webhook() -> None:
    found = properties()

    assert found["auto.create.topics.enable"] == "false"
    assert int(found["message.max.bytes"]) > 1024 * 1024

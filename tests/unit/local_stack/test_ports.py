from __future__ import annotations

import socket
from pathlib import Path

import pytest

from local_stack.ports import CANDIDATES, LOOPBACK, choose_ports, is_free
from shared.errors import ConfigError


def test_ports_stay_the_same_while_they_are_free(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    first = choose_ports(file, ("broker", "controller"))

    assert choose_ports(file, ("broker", "controller")) == first
    assert len(set(first.values())) == 2
    assert all(port in CANDIDATES for port in first.values())


def test_port_that_a_stranger_took_is_replaced(tmp_path: Path) -> None:
    file = tmp_path / "ports.json"
    port = choose_ports(file, ("broker",))["broker"]
    with socket.create_server((LOOPBACK, port)):
        replaced = choose_ports(file, ("broker",))["broker"]

    assert replaced != port
    assert choose_ports(file, ("broker",))["broker"] == replaced


@pytest.mark.parametrize("text", ["", "[]", "{", '{"broker": "x"}', "7"])
def test_damaged_file_is_replaced(tmp_path: Path, text: str) -> None:
    file = tmp_path / "ports.json"
    file.write_text(text)

    assert is_free(choose_ports(file, ("broker",))["broker"])


def test_no_free_port_is_said_with_the_fix(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No free port was found on 127\.0\.0\.1.*: stop programs"):
        choose_ports(tmp_path / "ports.json", ("broker",), free=lambda port: False)

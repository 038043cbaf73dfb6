"""Where a destination may lie is judged by the address that its host leads to."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from shared.networks import ANYWHERE, NetworkRefusedError, parse_networks, resolve

NO_LOOPBACK = "!127.0.0.0/8,!::1/128"


@pytest.mark.parametrize(
    ("text", "address", "allowed"),
    [
        ("", "8.8.8.8", True),
        ("", "127.0.0.1", True),
        ("", "10.1.2.3", True),
        ("", "169.254.169.254", False),
        ("", "::ffff:169.254.169.254", False),
        ("", "64:ff9b::a9fe:a9fe", False),
        ("", "fe80::1", False),
        ("", "fe80::1%1", False),
        ("", "fd00:ec2::254", False),
        ("", "100.100.100.200", False),
        ("169.254.7.0/24", "169.254.7.1", True),
        ("10.0.0.0/8", "10.1.2.3", True),
        ("10.0.0.0/8", "8.8.8.8", False),
        ("10.0.0.0/8, !10.1.0.0/16", "10.1.2.3", False),
        ("10.0.0.0/8, !10.1.0.0/16, 10.1.2.0/24", "10.1.2.3", True),
        (NO_LOOPBACK, "127.0.0.1", False),
        (NO_LOOPBACK, "0.0.0.0", False),
        (NO_LOOPBACK, "::", False),
        (NO_LOOPBACK, "::ffff:127.0.0.1", False),
        (NO_LOOPBACK, "8.8.8.8", True),
    ],
)
def test_the_narrowest_network_decides(text: str, address: str, allowed: bool) -> None:
    assert parse_networks(text).allow(ip_address(address)) is allowed


@pytest.mark.parametrize("text", ["10.0.0.0/33", "everywhere", "10.0.0.1/8", "!"])
def test_network_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/8"):
        parse_networks(text)


@pytest.mark.parametrize(
    "host", ["127.1", "2130706433", "0177.0.0.1", "0x7f.0.0.1", "::ffff:127.0.0.1", "0.0.0.0", "localhost", "::1"]
)
async def test_every_spelling_leads_to_the_same_judgement(host: str) -> None:
    assert await resolve(host, 5432, ANYWHERE)
    with pytest.raises(NetworkRefusedError):
        await resolve(host, 5432, parse_networks(NO_LOOPBACK))

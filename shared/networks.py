"""Which networks a destination may lie in. What is judged is the address that a name leads to, however it is written.

The session is then opened to that very address, so that no second look-up of the name can lead elsewhere.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from shared.errors import DestinationUnavailableError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
REFUSED = "!"  # before a network
# Where clouds tell a machine its secrets; nobody's database is there.
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instancedata-data-retrieval.html
# https://www.alibabacloud.com/help/en/ecs/user-guide/view-instance-metadata
METADATA = tuple(
    ip_network(text) for text in ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128", "100.100.100.200/32")
)
# An address of IPv4 in one of IPv6: https://www.rfc-editor.org/rfc/rfc6052#section-2.1
NAT64 = ip_network("64:ff9b::/96")


class NetworkRefusedError(DestinationUnavailableError):
    """Rows may not be sent to the network in which this host lies."""

    code = "destination_network_refused"


@dataclass(frozen=True, slots=True)
class Networks:
    """Networks that are allowed, and networks that are refused; the narrowest that holds an address decides."""

    allowed: tuple[Network, ...] = ()
    refused: tuple[Network, ...] = METADATA

    def allow(self, address: Address) -> bool:
        """Tell whether an address may be reached; where no network holds it, any may if none is named as allowed."""
        plain = _plain(address)
        allowed = max((net.prefixlen for net in self.allowed if plain in net), default=-1)
        refused = max((net.prefixlen for net in self.refused if plain in net), default=-1)
        return allowed > refused or (allowed == refused == -1 and not self.allowed)


ANYWHERE = Networks()


def parse_networks(text: str) -> Networks:
    """Return the networks of `10.0.0.0/8, !10.1.0.0/16`; raise `ValueError` for one that can't be read."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    try:
        allowed = tuple(ip_network(name) for name in names if not name.startswith(REFUSED))
        refused = tuple(ip_network(name[1:].strip()) for name in names if name.startswith(REFUSED))
    except ValueError:
        raise ValueError("write networks such as 10.0.0.0/8, separated by commas, and ! before a refused one") from None
    return Networks(allowed, (*METADATA, *refused))


async def resolve(host: str, port: int, networks: Networks) -> Sequence[str]:
    """Return the addresses of a host to which a session may be opened, in the order in which they are tried.

    Raises `NetworkRefusedError` where there is none, and `OSError` or `UnicodeError` where the name is unknown.
    """
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    texts = dict.fromkeys(str(place[0]) for *_, place in found)
    allowed = [text for text in texts if networks.allow(ip_address(text))]
    if not allowed:
        raise NetworkRefusedError
    return allowed


def _plain(address: Address) -> Address:
    """Return where packets to an address go: IPv6 may hold one of IPv4, and "unspecified" is this machine."""
    if isinstance(address, IPv6Address):
        if address in NAT64:
            return IPv4Address(int(address) & 0xFFFFFFFF)
        if address.ipv4_mapped:
            return _plain(address.ipv4_mapped)
        return IPv6Address("::1") if address.is_unspecified else IPv6Address(int(address))
    return IPv4Address("127.0.0.1") if address in ip_network("0.0.0.0/8") else address

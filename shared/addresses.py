"""Addresses of Postgres servers, `postgresql://user:password@host:port/database?name=value`, in parts.

No sentence here quotes what was written: where an address does not parse, any part of it may be the password.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

SCHEMES = ("postgresql", "postgres")
SHAPE = "postgresql://user:password@host:5432/database"
PARAMETER_NAME = re.compile(r"[A-Za-z_][A-Za-z_0-9]{0,39}\Z")
HOST = re.compile(r"[^\s/@?#,\\\x00-\x1f\x7f]+\Z")
ENCODE = (
    "The address does not parse. Percent-encode the characters @ : / ? # % of user and password: "
    "%40 for @, %3A for :, %2F for /, %3F for ?, %23 for #, %25 for %."
)


class AddressError(ValueError):
    """An address can't be used; its text is a sentence for people that quotes nothing of it."""


@dataclass(frozen=True, slots=True)
class AddressParts:
    """The parts of an address, percent-decoded."""

    host: str
    port: int
    database: str
    user: str
    password: str
    parameters: dict[str, str]


@dataclass(frozen=True, slots=True)
class Split:
    """What an address is made of, as it was written."""

    netloc: str
    path: str
    query: str


def split_address(text: str) -> AddressParts:
    """Return the parts of an address of one server; raise `AddressError` that says which part is wrong."""
    parts = check_address(text)
    userinfo, _, place = parts.netloc.rpartition("@")
    user, _, password = userinfo.partition(":")
    host, port = _host_and_port(place)
    database = unquote(parts.path.removeprefix("/"))
    for name, value in (("host", host), ("user", user), ("database", database)):
        if not value:
            raise AddressError(f"The address lacks the {name}: {SHAPE}.")
    return AddressParts(host, port, database, unquote(user), unquote(password), _parameters(parts.query))


def check_address(text: str) -> Split:
    """Return scheme, server, path and query; raise `AddressError` where no client of Postgres could read it."""
    if text.strip().partition(":")[0].lower() not in SCHEMES:
        raise AddressError(f"The address has to start with postgresql://, as in {SHAPE}.")
    try:
        parts = urlsplit(text.strip())
    except ValueError:
        raise AddressError(ENCODE) from None
    # After the server no @ has a meaning: the one before it was cut by a character of the password.
    if "@" in parts.path + parts.query or parts.fragment or "#" in text:
        raise AddressError(ENCODE)
    for place in parts.netloc.rpartition("@")[2].split(","):
        _, colon, port = place.rpartition("]")[2].rpartition(":")
        if colon and not port.isdecimal():
            raise AddressError("The address does not parse; its port is no number.")
        if colon and not 0 < int(port) < 65536:
            raise AddressError("The address does not parse; its port lies outside of 1 to 65535.")
    return Split(parts.netloc, parts.path, parts.query)


def _host_and_port(place: str) -> tuple[str, int]:
    if "," in place:
        raise AddressError("Give one host: an address with several hosts can't be used here.")
    host, colon, port = place.rpartition(":") if not place.endswith("]") else (place, "", "")
    host = (host if colon else place).strip("[]").lower()
    if "%2f" in host or (host and not HOST.match(host)):
        raise AddressError("The address does not parse; its host is no name and no IP address.")
    return host, int(port) if colon and port else 5432


def _parameters(query: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        name, _, value = part.partition("=")
        if not PARAMETER_NAME.match(name):
            raise AddressError(ENCODE)
        if name in found:
            raise AddressError(f"The address gives {name} twice.")
        found[name] = unquote(value)
    return found

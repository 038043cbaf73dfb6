"""Webhooks that are odd in every way that a seed can make: bodies, signatures, headers and endpoints."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from shared.stripe_api import API_VERSION
from tests.unit.webhook_gateway.webhooks import SECRET, header

SUBJECTS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("customer.updated", {"id": "cus_1", "object": "customer"}),
    ("invoice.paid", {"id": "in_1", "object": "invoice", "lines": {"object": "list", "data": [], "has_more": False}}),
    ("coupon.created", {"id": "SUMMER 26 %", "object": "coupon"}),
    ("balance.available", {"object": "balance"}),
    ("invoice.upcoming", {"object": "invoice"}),
    ("brand.new", {"object": "brand_new"}),
)
PATHS = ("/webhooks/stripe/we_1",) * 8 + (
    "/webhooks/stripe/we_2",
    "/webhooks/stripe/%00",
    "/webhooks/stripe/" + "x" * 3000,
    "/webhooks/stripe/%F0%9F%92%A9",
    "/webhooks/stripe/..%2f..",
)
SIGNATURES = (
    "",
    "t=1",
    "t=,v1=",
    "v1=00",
    "t=9" * 50,
    "t=\u00e9,v1=\u00e9",
    "t=1790000000,v1=" + "0" * 64,
    "garbage, t==,",
)
ODD_NUMBERS = (-1, 0, 1.5, 10**30, -(10**400), 1e308, float("inf"), float("nan"), 4_102_444_800)
ODD_TEXTS = ("", "\0", "\ud83d", "x" * 5000, "é" * 300, "../../x", "' OR 1=1 --", "4102444800")
ODD_THINGS: tuple[Any, ...] = (None, True, [], {}, [[[]]], {"": {"": None}})
DEEP = ("<50>", "<101>", "<400>", "<3000>")  # stand for so many nested lists


@dataclass(frozen=True)
class Fuzzed:
    """One webhook."""

    path: str
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


def odd_value(dice: random.Random) -> Any:
    """Return a JSON value that nobody expects."""
    return copy.deepcopy(dice.choice((*ODD_NUMBERS, *ODD_TEXTS, *ODD_THINGS, *DEEP)))


def dump(value: Any) -> bytes:
    """Return the JSON text, with nested lists in it."""
    text = json.dumps(value)
    for mark in DEEP:
        levels = int(mark.strip("<>"))
        text = text.replace(f'"{mark}"', "[" * levels + "]" * levels)
    return text.encode()


def make_event(dice: random.Random, now: float) -> dict[str, Any]:
    """Return an event with some odd fields."""
    kind, subject = dice.choice(SUBJECTS)
    event: dict[str, Any] = {
        "id": f"evt_{dice.randrange(10**9)}",
        "object": "event",
        "type": kind,
        "created": int(now) + dice.choice((0, -5, -86_400, 300, 7200, -(10**10), 10**10)),
        "livemode": True,
        "api_version": dice.choice((API_VERSION, "2019-05-16")),
        "data": {"object": subject | {"metadata": {"a": 1}}, "previous_attributes": {"metadata": {}}},
    }
    for _ in range(dice.randrange(3)):
        data = event.get("data")
        place = dice.choice((event, data, subject)) if isinstance(data, dict) and data else event
        if place is subject:
            event["data"] = {"object": subject | {dice.choice(("id", "object", "lines", "x")): odd_value(dice)}}
        else:
            place[dice.choice(sorted(place))] = odd_value(dice)
    return event


def cut(body: bytes, dice: random.Random) -> bytes:
    """Return the beginning."""
    return body[: dice.randrange(len(body) + 1)]


def flip(body: bytes, dice: random.Random) -> bytes:
    """Return the body with some other bytes in it."""
    changed = bytearray(body or b"x")
    for _ in range(dice.randrange(1, 9)):
        changed[dice.randrange(len(changed))] = dice.randrange(256)
    return bytes(changed)


def noise(_body: bytes, dice: random.Random) -> bytes:
    """Return any bytes."""
    return dice.randbytes(dice.randrange(200))


CHANGES: tuple[Callable[[bytes, random.Random], bytes] | None, ...] = (None,) * 7 + (cut, flip, noise)


def make_webhook(dice: random.Random, now: float) -> Fuzzed:
    """Return the next webhook; most are signed, so that they come as far as they can. `now` is in Unix seconds."""
    body = dump(make_event(dice, now))
    change = dice.choice(CHANGES)
    body = change(body, dice) if change else body
    signature = header(body, SECRET, now) if dice.random() < 0.9 else dice.choice(SIGNATURES)
    headers = {"Stripe-Signature": signature}
    if dice.random() < 0.05:
        headers["Content-Encoding"] = dice.choice(("gzip", "deflate", "br", "identity", "x" * 300))
    if dice.random() < 0.05:
        headers["Content-Type"] = dice.choice(("", "text/plain; charset=nonsense", "multipart/form-data", "a/b;" * 99))
    return Fuzzed(dice.choice(PATHS), body, headers)

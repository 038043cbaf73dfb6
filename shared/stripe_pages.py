"""Stripe's answers as bytes: a list is split into objects without parsing them; one that nobody can read is set apart.

One object that can't be read (half of a surrogate pair, `NaN`, lists within lists) takes neither its page nor its
neighbours along: where it begins and ends can be told by brackets and quotes alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import msgspec

from shared.errors import ObjectUnreadableError, StripeAnswerError

PAGE_LIMIT = 100  # Stripe's largest. https://docs.stripe.com/api/pagination
GROW_AFTER = 8  # pages in a row that were answered

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|[\[\]{},]', re.DOTALL)
_DATA = re.compile(rb"\s*:\s*\[")
_ID = re.compile(rb'"id"\s*:\s*"([^"\\]{1,255})"')
_CREATED = re.compile(rb'"(?:created|date)"\s*:\s*(\d{1,12})\b')
_OPEN, _CLOSE = b"[{", b"]}"


class Item(msgspec.Struct):
    """The identity of an object in a list."""

    id: str | None = None
    object: str = ""
    created: int | None = None
    date: int | None = None  # what an invoice item has instead of `created`
    deleted: bool = False

    @property
    def created_at(self) -> int | None:
        """When it was created, in Unix seconds, if the object tells."""
        return self.created if self.created is not None else self.date


class _List(msgspec.Struct):
    data: list[msgspec.Raw]
    has_more: bool = False


class _Shape(msgspec.Struct):
    object: str = "object"
    data: msgspec.Raw = msgspec.Raw()


_ITEM = msgspec.json.Decoder(Item)
_LIST = msgspec.json.Decoder(_List)
_SHAPE = msgspec.json.Decoder(_Shape)


def parse_item(body: bytes | msgspec.Raw) -> Item:
    """Return id, type and creation time of an object without parsing the rest."""
    return _ITEM.decode(body)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """An object of a list that can't be read, with what can be told of it all the same."""

    body: bytes
    reason: str
    id: str | None
    created_at: int | None


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list: the objects' bytes, and the stamp of everything on it."""

    objects: tuple[bytes, ...]
    has_more: bool
    stamp: int  # Stripe's clock, in seconds: a low watermark of the state that the page shows
    items: tuple[Item, ...] = ()  # of each object
    unreadable: tuple[Unreadable, ...] = ()
    last: Item | Unreadable | None = None  # behind which the next page begins


@dataclass(frozen=True, slots=True)
class Fetched:
    """One object's bytes and their stamp."""

    body: bytes
    stamp: int


@dataclass(slots=True)
class PageSize:
    """How many objects the next page of a list is asked for: less after a failure, more once that goes well."""

    limit: int = PAGE_LIMIT
    _answered: int = 0
    _needed: int = GROW_AFTER

    def shrink(self) -> None:
        """Halve the page, down to one object: it may be too heavy for Stripe, or for what stands in between."""
        self.limit, self._answered, self._needed = max(self.limit // 2, 1), 0, GROW_AFTER

    def grow(self) -> None:
        """Note that a page was answered; after some in a row the next one is larger, and then each that goes well."""
        self._answered += 1
        if self.limit < PAGE_LIMIT and self._answered >= self._needed:
            self.limit, self._answered, self._needed = min(self.limit * 2, PAGE_LIMIT), 0, 1

    @property
    def is_full(self) -> bool:
        """Whether nothing has to be remembered."""
        return self.limit == PAGE_LIMIT


def parse_page(body: bytes, stamp: int) -> Page:
    """Return the page; raise `StripeAnswerError` for an answer that is no page, or no whole one."""
    try:
        listed = _LIST.decode(body)
        bodies, has_more = [bytes(raw) for raw in listed.data], listed.has_more
    except msgspec.ValidationError as error:
        raise _explain(body) from error
    except UNREADABLE:
        bodies, has_more = _split(body)
    if has_more and not bodies:
        raise StripeAnswerError("Stripe says that this list goes on, and shows nothing of it.")
    read = [_read(one) for one in bodies]
    found = [(one, item) for one, item in zip(bodies, read, strict=True) if isinstance(item, Item)]
    return Page(
        tuple(one for one, _ in found),
        has_more,
        stamp,
        items=tuple(item for _, item in found),
        unreadable=tuple(item for item in read if isinstance(item, Unreadable)),
        last=read[-1] if read else None,
    )


def parse_object(body: bytes, stamp: int) -> Fetched:
    """Return the object; raise `ObjectUnreadableError`, or `StripeAnswerError` for what is no whole object."""
    read = _read(body)
    if isinstance(read, Item):
        return Fetched(body, stamp)
    if not body.lstrip().startswith(b"{") or not _is_whole(body):
        raise _explain(body)
    raise ObjectUnreadableError(read.reason, body=body)


def _read(body: bytes) -> Item | Unreadable:
    try:
        body.decode()  # nothing else looks at a text that is skipped
        return _ITEM.decode(body)
    except UNREADABLE as error:
        found, created = _ID.search(body), _CREATED.search(body)
        name = found[1].decode("utf-8", "replace") if found else None
        return Unreadable(body, f"Stripe's object can't be read: {error}.", name, int(created[1]) if created else None)


def _split(body: bytes) -> tuple[list[bytes], bool]:
    """Return the objects of a list that is no JSON as a whole, and whether the list goes on."""
    if not body.lstrip().startswith(b"{"):
        raise _explain(body)
    spans, begin = [], None
    depth = 0
    for token in _TOKEN.finditer(body):
        mark = token[0]
        if mark == b'"data"' and depth == 1 and (opening := _DATA.match(body, token.end())):
            begin = opening.end()
        elif mark in _OPEN:
            depth += 1
        elif mark in _CLOSE:
            depth -= 1
        if begin is not None and ((mark == b"," and depth == 2) or (mark == b"]" and depth == 1)):
            spans.append((begin, token.start()))
            begin = token.end() if mark == b"," else None
            if begin is None:
                return _objects(body, spans, token.end())
    raise _explain(body)


def _objects(body: bytes, spans: Sequence[tuple[int, int]], end: int) -> tuple[list[bytes], bool]:
    rest = body[: spans[0][0]] + b"]" + body[end:]
    try:
        has_more = _LIST.decode(rest).has_more
    except UNREADABLE as error:
        raise _explain(rest) from error
    return [one for begin, stop in spans if (one := body[begin:stop].strip())], has_more


def _is_whole(body: bytes) -> bool:
    """Tell whether every bracket of a document is closed, and nothing follows the last one."""
    depth = end = 0
    for mark, at in _brackets(body):
        depth += 1 if mark in _OPEN else -1
        end = at
    return depth == 0 and not body[end:].strip()


def _brackets(body: bytes) -> Iterator[tuple[bytes, int]]:
    return ((token[0], token.end()) for token in _TOKEN.finditer(body) if token[0] in (b"[", b"]", b"{", b"}"))


def _explain(body: bytes) -> StripeAnswerError:
    """Say in words for people what an answer is, where it is not what was asked for."""
    text = body.lstrip()
    if not text:
        return StripeAnswerError("Stripe's answer is empty.")
    if not text.startswith((b"{", b"[")):
        return StripeAnswerError(
            "What answers at Stripe's address sends a page instead of data. A proxy or a sign-in may stand in between."
        )
    try:
        shape = _SHAPE.decode(body)
    except UNREADABLE:
        return StripeAnswerError("Stripe's answer was cut off, or is no JSON.")
    if not bytes(shape.data):
        return StripeAnswerError(f"Stripe answered with one {shape.object[:50]} where a list was asked for.")
    return StripeAnswerError("Stripe's list has no `data` that could be read.")

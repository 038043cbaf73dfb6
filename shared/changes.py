"""What an event changed in its object: kept sealed in the event log, short, and without what is left out.

Stripe sends the values from before in `data.previous_attributes`, and those after in `data.object`:
https://docs.stripe.com/api/events/object#event_object-data-previous_attributes. Of a hash it sends the fields that
changed; a list it sends whole, so a list is one value here.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from shared.crypto import KeyRing

LONGEST_VALUE = 200  # characters of a value's JSON
LONGEST = 4_000  # bytes of all changes of an event
MOST = 50  # changes of an event
NAME = "changes"  # of the field that a ciphertext is bound to

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])


class Change(msgspec.Struct, frozen=True, array_like=True):
    """A field with its value before and after, each as JSON; `None` stands for a field that was not there."""

    field: str
    old: str | None
    new: str | None


class Changes(msgspec.Struct, frozen=True):
    """What an event changed; `is_cut` where there was more than is kept."""

    changes: tuple[Change, ...]
    is_cut: bool = False


def changes_between(previous: bytes, body: bytes) -> Changes:
    """Return what an event changed; `previous` and `body` are JSON objects, as Stripe sent them.

    Raises `msgspec.DecodeError` for what is none.
    """
    found: list[Change] = []
    size = 0
    for change in _compare(previous, body, ()):
        size += len(msgspec.json.encode(change)) + 1
        if len(found) == MOST or size > LONGEST:
            return Changes(tuple(found), is_cut=True)
        found.append(change)
    return Changes(tuple(found))


def _compare(previous: bytes, body: bytes, path: tuple[str, ...]) -> Iterator[Change]:
    before, after = _FIELDS.decode(previous), _FIELDS.decode(body)
    for name, raw in before.items():
        old, new = bytes(raw), bytes(after[name]) if name in after else None
        steps = (*path, name)
        if new is not None and old.startswith(b"{") and new.startswith(b"{"):
            yield from _compare(old, new, steps)
        elif old != new:
            yield Change(".".join(steps), _shown(old), _shown(new))


def _shown(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value.decode("utf-8", "replace")
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}…"


def seal(keys: KeyRing, changes: Changes, *, connection_id: str, event_id: str) -> bytes:
    """Return the changes encrypted, bound to the connection and the event."""
    text = msgspec.json.encode(changes).decode()
    return keys.encrypt(text, owner=f"{connection_id}:{event_id}", name=NAME)


def unseal(keys: KeyRing, sealed: bytes, *, connection_id: str, event_id: str) -> Changes:
    """Return what `seal` was given; raise `SecretUnreadableError`."""
    text = keys.decrypt(sealed, owner=f"{connection_id}:{event_id}", name=NAME)
    return msgspec.json.decode(text, type=Changes)

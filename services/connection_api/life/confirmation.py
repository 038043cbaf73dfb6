"""The name that a person types to confirm what can't be undone: it counts as it is seen, not as it is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

UNSEEN = "Cf"  # Unicode's category of what has no shape of its own: joiners, marks of direction, soft hyphens


def as_seen(text: str) -> str:
    """Return the text as a page shows it: letters composed, white space of all kinds as one blank, none at the ends."""
    shown = "".join(letter for letter in unicodedata.normalize("NFC", text) if unicodedata.category(letter) != UNSEEN)
    return " ".join(shown.split())


def names_to_type(name: str, connection_id: str, account: Sequence[str] = ()) -> Sequence[str]:
    """Return what confirms, the one to ask for first: the connection's name unless nothing of it is seen, and its id.

    `account` is name and id of its account, where no other connection has the same.
    """
    return list(dict.fromkeys(shown for text in (name, connection_id, *account) if (shown := as_seen(text))))


def is_confirmed(typed: str, accepted: Sequence[str]) -> bool:
    """Tell whether what a person has typed is one of the `accepted` names."""
    return as_seen(typed) in {as_seen(name) for name in accepted}

"""The name that a person types to confirm what can't be undone: it counts as it is seen, not as it is stored."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

UNSEEN = "Cf"  # Unicode's category of what has no shape of its own: joiners, marks of direction, soft hyphens


def as_seen(text: str) -> str:
    """Return the text as a page shows it: letters composed, white space of all kinds as one blank, none at the ends."""
    shown = "".join(letter for letter in unicodedata.normalize("NFC", text) if unicodedata.category(letter) != UNSEEN)
    return " ".join(shown.split())


def names_to_type(name: str, account_id: str) -> Sequence[str]:
    """Return what confirms, the one to ask for first: the name unless nothing of it is seen, and the account's id."""
    return [as_seen(name), account_id] if as_seen(name) else [account_id]


def is_confirmed(typed: str, accepted: Sequence[str]) -> bool:
    """Tell whether what a person has typed is one of the `accepted` names."""
    return as_seen(typed) in {as_seen(name) for name in accepted}

"""What each object of the pinned API version looks like: a template per object type, taken from Stripe's own types."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any

State = dict[str, Any]

API_VERSION = "2026-10-28.endive"


@dataclass(frozen=True, slots=True)
class Shapes:
    """The templates, the expandable fields, and the names of events and API versions."""

    templates: dict[str, State]
    expandable: dict[str, frozenset[str]]
    event_types: frozenset[str]
    api_versions: frozenset[str]


@lru_cache(maxsize=1)
def load_shapes() -> Shapes:
    """Read the shapes that are shipped with the simulator."""
    text = resources.files(__package__).joinpath("data/shapes.json").read_text(encoding="utf-8")
    data = json.loads(text)
    rows = data["resources"]
    return Shapes(
        templates={name: row["template"] for name, row in rows.items()},
        expandable={name: frozenset(row["expandable"]) for name, row in rows.items()},
        event_types=frozenset(data["event_types"]),
        api_versions=frozenset(data["api_versions"]),
    )

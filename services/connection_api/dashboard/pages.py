"""Renders the dashboard's pages: one Jinja environment and its filters."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from zoneinfo import ZoneInfo

from aiohttp import hdrs, web
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from services.connection_api.access.idempotency import FIELD
from services.connection_api.status import Word
from shared.crypto import make_id

PAGES = Path(__file__).parent
# A noun has its pages and their templates in one folder; those of all pages, and of older ones, lie in `templates`.
TEMPLATES = (PAGES, PAGES / "templates")
HEADERS = {hdrs.CACHE_CONTROL: "no-store"}
INDENT = re.compile(r"\n\s+")
LONGEST_ID = 22  # characters of an id that is shown whole in a list
STEPS = ((60, "s"), (3600, "min"), (86400, "h"))  # seconds below which a unit is used, and the unit

# The content policy forbids what htmx would make of texts: code, styles and scripts. A refusal (422) is shown in place.
HTMX = {
    "allowEval": False,
    "allowScriptTags": False,
    "disableInheritance": True,
    "includeIndicatorStyles": False,
    "historyCacheSize": 0,
    "defaultSettleDelay": 0,
    "responseHandling": [
        {"code": "204", "swap": False},
        {"code": "[23]..", "swap": True},
        {"code": "422", "swap": True},
        {"code": "[45]..", "swap": False, "error": True},
    ],
}


class Pages:
    """Renders templates."""

    def __init__(
        self,
        asset_url: Callable[[str], str],
        now: Callable[[], datetime],
        *,
        causes: Callable[[], int] = lambda: 0,
        zone: Callable[[], ZoneInfo | None] = lambda: None,
    ) -> None:
        """`asset_url` gives the address of a static file; `now` the time with its zone.

        `causes` tells how many causes dead letters have; the navigation of every page says it. `zone` tells in which
        zone times are shown, if one was chosen for all; else it is UTC, and scripts show them in the browser's own.
        """
        self._environment = Environment(
            loader=FileSystemLoader(TEMPLATES),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals |= {
            "static": asset_url,
            "htmx_config": json.dumps(HTMX),
            "words": list(Word),
            "once": once,
            "causes": causes,
            "chosen_zone": zone,
        }
        self._environment.filters |= {
            "number": lambda value: f"{value:,}",
            "iso": lambda at: at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
            "exact": lambda at: exact_time(at, zone() or UTC),
            "middle": middle,
            "day": lambda at: f"{at.astimezone(zone() or UTC):%-d %b %Y}",
            "tight": lambda html: Markup(INDENT.sub("\n", html)),  # noqa: S704 - it was escaped before
            "ago": lambda at: relative_time(at, now()),
        }

    def text(self, template: str, **values: object) -> str:
        """Return the rendered template."""
        return self._environment.get_template(template).render(values)

    def response(self, template: str, *, status: int = 200, **values: object) -> web.Response:
        """Return the rendered template as a page."""
        response = web.Response(
            text=self.text(template, **values), status=status, content_type="text/html", headers=HEADERS
        )
        response.enable_compression()
        return response


def once() -> Markup:
    """Return the field by which a form acts once, however often its button is pressed."""
    return Markup('<input type="hidden" name="{}" value="{}">').format(FIELD, make_id("form"))


def middle(text: str) -> str:
    """Return an id with its beginning and its end, where it is long."""
    return text if len(text) <= LONGEST_ID else f"{text[:12]}…{text[-8:]}"


def exact_time(at: datetime, zone: tzinfo = UTC) -> str:
    """Return the time in a zone, to the second; static/times.js says the same."""
    return f"{at.astimezone(zone):%-d %b %Y, %H:%M:%S %Z}"


def relative_time(at: datetime, now: datetime) -> str:
    """Return how long ago `at` was, such as `12 s ago`; static/times.js says the same."""
    seconds = max(0, int((now - at).total_seconds()))
    if seconds < 2:
        return "just now"
    size = 1
    for limit, unit in STEPS:
        if seconds < limit:
            return f"{seconds // size} {unit} ago"
        size = limit
    days = seconds // size
    return "1 day ago" if days == 1 else f"{days} days ago"

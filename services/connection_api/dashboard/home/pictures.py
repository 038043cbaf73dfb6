"""Renders the parts of the Accounts page: what its feed brings is made as the page itself is."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import tzinfo
from typing import Any

from aiohttp import web

from services.connection_api.dashboard.charts.pictures import Point, bars, percent_text, seconds_text, share
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.zones import zone_of
from services.connection_api.status import Word
from services.connection_api.views.home import Figures, State

TEMPLATES = {"state": "home/state.html", "cards": "cards.html", "pictures": "home/pictures.html"}
TONES = {Word.ACTION_REQUIRED: "bad", Word.DELAYED: "warning", Word.LIVE: "good"}


def render_part(pages: Pages, name: str, part: object, request: web.Request) -> str:
    """Return the markup of a part of the page, with times in the viewer's zone."""
    if isinstance(part, State):
        return pages.text(
            TEMPLATES[name], state=part, words=said(part), p95=seconds_text(part.p95), calls=calls_of(part)
        )
    if isinstance(part, Figures):
        return pages.text(TEMPLATES[name], **drawn(part, zone_of(request)))
    return pages.text(TEMPLATES[name], accounts=part, seconds=seconds_text)


def calls_of(state: State) -> str:
    """Return the share of Stripe's limit in words."""
    return percent_text(state.calls_share * 100)


def said(state: State) -> list[tuple[Word, str, str]]:
    """Return what is said of the accounts of each word, and its tone: `2 need you`."""
    words = []
    for word, number in state.counts:
        text = word.lower()
        if word is Word.ACTION_REQUIRED:
            text = "needs you" if number == 1 else "need you"
        words.append((word, f"{number:,} {text}", TONES.get(word, "quiet")))
    return words


def drawn(figures: Figures, zone: tzinfo) -> Mapping[str, Any]:
    """Return the pictures of all accounts; none while nothing has come yet."""
    calls = figures.calls
    return {
        "pictures": (
            bars("Events an hour, 7 days", [Point(one.at, one.number) for one in figures.events], zone=zone),
            bars(
                "Calls to Stripe an hour, 7 days",
                [Point(one.at, one.number) for one in calls.hours],
                zone=zone,
                noun="calls",
                empty="No calls yet",
            ),
        ),
        "is_empty": not any(one.number for one in (*figures.events, *calls.hours)),
        "share": share(calls.share, 1, "Stripe's limit in the last hour, of the busiest account"),
    }

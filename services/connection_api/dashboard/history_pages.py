"""Adds the pages that tell what happened and where it went: syncs, events, dead letters, removals,
destinations, the audit log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from aiohttp import web

from services.connection_api.dashboard.audit_pages import add_audit_pages
from services.connection_api.dashboard.destination_pages import add_destination_pages
from services.connection_api.dashboard.event_pages import add_event_pages
from services.connection_api.dashboard.letter_pages import add_letter_pages
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.removal_pages import add_removal_pages
from services.connection_api.dashboard.sync_pages import add_sync_pages
from services.connection_api.state import State


def add_history_pages(app: web.Application, state: State, pages: Pages, now: Callable[[], datetime]) -> None:
    """Add all these pages; `now` gives the time with its zone."""
    for add in (
        add_sync_pages,
        add_event_pages,
        add_letter_pages,
        add_removal_pages,
        add_destination_pages,
        add_audit_pages,
    ):
        add(app, state, pages, now)

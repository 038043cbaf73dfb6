"""Serves the reference of the REST API at `/reference`."""

from __future__ import annotations

from functools import cache

from aiohttp import web

from services.connection_api.access.sessions import COOKIE
from services.connection_api.dashboard.pages import HEADERS, Pages
from services.connection_api.dashboard.reference import make_reference
from shared.http import Access, add_route

REFERENCE_PATH = "/reference"


def add_reference(app: web.Application, pages: Pages) -> None:
    """Add the page; it holds no data, so whoever reads `/openapi.json` may read it."""

    @cache
    def text(*, signed_in: bool) -> str:
        return pages.text("reference.html", reference=make_reference(), signed_in=signed_in)

    async def show(request: web.Request) -> web.Response:
        response = web.Response(
            text=text(signed_in=COOKIE in request.cookies), content_type="text/html", headers=HEADERS
        )
        response.enable_compression()
        return response

    add_route(app, "GET", REFERENCE_PATH, show, Access.PUBLIC)

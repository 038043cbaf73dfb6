"""Objects that only a list of their parents leads to, such as the tax ids of customers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl, quote

import msgspec

from services.sync_worker.objects import iter_pages
from shared.catalogue import Within
from shared.errors import StripeNotFoundError
from shared.stripe_api import StripeApi
from shared.stripe_pages import Page, parse_page

_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NAMED = re.compile(r"\{(\w+)\}")

Fields = Mapping[str, msgspec.Raw]


async def children_of(api: StripeApi, within: Within, parents: Page) -> Page:
    """Return the children of a page of parents as one page with the parents' stamp; raise what the client raises.

    A parent that is gone by now has none.
    """
    pages: list[Page] = []
    for parent in parents.objects:
        fields = _FIELDS.decode(parent)
        inline = _inline(within, fields, parents.stamp)
        if inline is not None and not inline.has_more:
            pages.append(inline)
            continue
        path, _, query = _rest_path(within, fields).partition("?")
        try:
            async for page, _ in iter_pages(api, path, parse_qsl(query)):
                pages.append(page)
        except StripeNotFoundError:
            continue
    return Page(
        tuple(body for page in pages for body in page.objects),
        False,
        parents.stamp,
        items=tuple(item for page in pages for item in page.items),
        unreadable=tuple(one for page in pages for one in page.unreadable),
    )


def _rest_path(within: Within, parent: Fields) -> str:
    return _NAMED.sub(lambda name: quote(msgspec.json.decode(parent[name[1]], type=str), safe=""), within.rest_path)


def _inline(within: Within, parent: Fields, stamp: int) -> Page | None:
    if within.field is None or within.field not in parent:
        return None
    carried = bytes(parent[within.field])
    return parse_page(carried, stamp) if carried.startswith(b"{") else None

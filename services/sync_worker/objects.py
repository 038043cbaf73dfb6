"""Asks Stripe for one object, or for the newest of a list, and publishes the answer."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterable, Sequence
from urllib.parse import parse_qsl

import msgspec

from services.sync_worker.answers import Answers
from services.sync_worker.hint_spans import LEAST, REACH, Shown, Span, may_be_spanned
from services.sync_worker.planning import list_parameters
from services.sync_worker.publishing import Publisher, Snapshot
from shared.catalogue import BY_NAME, Child, Resource
from shared.connections import Connection
from shared.db import Pool, database_errors
from shared.errors import (
    ObjectUnreadableError,
    PermissionMissingError,
    ResourceUnavailableError,
    StripeNotFoundError,
)
from shared.hints import named_by, named_ids
from shared.messages import Origin
from shared.stripe_api import Params, StripeApi, object_path
from shared.stripe_pages import Fetched, Page, PageSize, parse_item

NEWEST_OF_LIST = "*"
TAIL_OVERLAP = 60  # seconds of a list that are read again

Offsets = dict[tuple[str, int], int]
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])

LISTED_TO = "SELECT listed_to FROM list_tails WHERE connection_id = $1 AND resource = $2"
ADVANCE = """
INSERT INTO list_tails AS t (connection_id, resource, listed_to) VALUES ($1, $2, $3)
ON CONFLICT (connection_id, resource) DO UPDATE SET listed_to = greatest(t.listed_to, excluded.listed_to)
"""


ASK = """
INSERT INTO refetches AS r (connection_id, resource, object_id, reason, due_at)
SELECT c.id, $2, u.id, $4, now() FROM unnest($3::text[]) AS u (id), connections c
WHERE c.id = $1 AND c.state <> 'removing' AND $2 = ANY (c.resources) ORDER BY u.id
ON CONFLICT (connection_id, resource, object_id) DO UPDATE SET generation = r.generation + 1, told_by = NULL
"""
REFUSED = "missing permission"  # why an object is asked for once more


class _HasMore(msgspec.Struct):
    has_more: bool = False


class Objects:
    """Refreshes objects; raises what the client and the publisher raise."""

    def __init__(self, pool: Pool, publisher: Publisher) -> None:
        self._pool = pool
        self._publisher = publisher
        self._answers = Answers(pool)

    async def refresh(
        self, connection: Connection, api: StripeApi, resource: Resource, object_id: str, *, slice_id: int | None = None
    ) -> Offsets:
        """Publish the object's state as it is now, or its deletion; `*` stands for the newest of the list.

        Returns the last offset of each partition that was written to.
        """
        log_id, question = self._publisher.log_id, (connection.id, resource.name, object_id)
        if object_id == NEWEST_OF_LIST:
            offsets, since = await self._refresh_tail(connection, api, resource, slice_id)
            await self._answers.note(question, offsets, log_id=log_id, listed_from=since)
        else:
            offsets = await self._refresh_object(connection, api, resource, object_id, slice_id)
            await self._answers.note(question, offsets, log_id=log_id)
        return offsets

    async def _refresh_object(
        self, connection: Connection, api: StripeApi, resource: Resource, object_id: str, slice_id: int | None
    ) -> Offsets:
        snapshot = await self.ask(api, resource, object_id)
        if snapshot is None:
            return {}
        offsets = await self._publisher.publish(connection, [snapshot], slice_id=slice_id)
        bodies = [snapshot.body]
        for child in () if snapshot.is_deleted else resource.children:
            if is_cut(child, snapshot.body):
                children, written = await self._walk_children(connection, api, child, object_id)
                offsets |= written
                bodies.append(as_inline(child, children))
        for named in named_by(resource):
            ids = dict.fromkeys(one for body in bodies for one in named_ids(named, body))
            offsets |= await self._refresh_named(connection, api, named, list(ids), slice_id)
        return offsets

    async def refresh_span(
        self, connection: Connection, api: StripeApi, span: Span, *, slice_id: int | None = None
    ) -> tuple[Offsets, Shown]:
        """Publish a page of a list, and what its objects name; return the last offsets, and what was found.

        One whose child list is cut there counts as not found.
        """
        resource, log_id = BY_NAME[span.resource], self._publisher.log_id
        offsets, found, since = await self._publish_span(connection, api, span, slice_id)
        for named in named_by(resource):
            ids = dict.fromkeys(one for body in found.values() for one in named_ids(named, body))
            # What they name was made with them, or shortly before.
            near = Span(named.name, span.start - REACH, span.end, frozenset(ids))
            offsets |= await self._refresh_named(connection, api, named, list(ids), slice_id, near)
        for object_id in found:
            await self._answers.note((connection.id, resource.name, object_id), offsets, log_id=log_id)
        return offsets, Shown(frozenset(found), since)

    async def _publish_span(
        self, connection: Connection, api: StripeApi, span: Span, slice_id: int | None
    ) -> tuple[Offsets, dict[str, bytes], int]:
        """Return the last offsets, what was found with its bodies, and since when nothing is left out."""
        resource = BY_NAME[span.resource]
        parameters = list_parameters(resource.name, 0, start=span.start, end=span.end + 1, cursor=None)
        page = await api.list_page(resource.list_path, parameters)
        # What is looked for is the answer to a question: one that can't be ordered yet is asked again.
        published = await self._publisher.publish_page(
            connection, resource, page, slice_id=slice_id, refetched=span.ids
        )
        found = {
            item.id: body
            for body, item in zip(page.objects, page.items, strict=True)
            if item.id and item.id in span.ids and not any(is_cut(c, body) for c in resource.children)
        }
        oldest = page.items[-1].created_at if page.has_more and page.items else None
        return published.offsets, found, span.start if oldest is None else oldest + 1

    async def ask_later(self, connection: Connection, resource: str, ids: Iterable[str]) -> None:
        """Queue questions about objects that the key may not read: they wait until it may."""
        with database_errors():
            await self._pool.execute(ASK, connection.id, resource, list(ids), REFUSED)

    async def _refresh_named(
        self,
        connection: Connection,
        api: StripeApi,
        named: Resource,
        ids: Sequence[str],
        slice_id: int | None,
        near: Span | None = None,
    ) -> Offsets:
        """Publish what the object names and what changes without an event, such as the items of an invoice.

        `near` is the part of their list in which several may stand.
        """
        if named.name not in connection.resources:
            return {}
        offsets: Offsets = {}
        left = dict.fromkeys(ids)
        try:
            if near is not None and len(left) >= LEAST and may_be_spanned(named):
                offsets, found, _ = await self._publish_span(connection, api, near, slice_id)
                left = dict.fromkeys(one for one in left if one not in found)
            while left:
                object_id = next(iter(left))
                try:
                    snapshot = await self.ask(api, named, object_id)
                except ObjectUnreadableError as error:
                    await self._publisher.bury_question(connection, named, object_id, error)
                    snapshot = None
                if snapshot is not None:
                    offsets |= await self._publisher.publish(connection, [snapshot], slice_id=slice_id)
                del left[object_id]
        except PermissionMissingError:  # of this resource alone: what names it may be read
            await self.ask_later(connection, named.name, list(left))
        return offsets

    async def ask(self, api: StripeApi, resource: Resource, object_id: str) -> Snapshot | None:
        """Return the object as it is now, or its deletion; `None` when the account has no such product."""
        path = object_path(resource.retrieve_path, object_id)
        try:
            fetched = await api.retrieve(path, [("expand[]", field) for field in resource.expand])
        except ResourceUnavailableError:
            return None
        except StripeNotFoundError as error:
            gone = json.dumps({"id": object_id, "object": resource.object, "deleted": True}).encode()
            fetched = Fetched(gone, error.stamp or 0)
        is_deleted = parse_item(fetched.body).deleted
        return Snapshot(resource, fetched.body, fetched.stamp, Origin.REFETCHED, is_deleted=is_deleted)

    async def _refresh_tail(
        self, connection: Connection, api: StripeApi, resource: Resource, slice_id: int | None
    ) -> tuple[Offsets, int]:
        """Return the last offsets, and the second from which on the list was read."""
        with database_errors():
            listed_to = await self._pool.fetchval(LISTED_TO, connection.id, resource.name)
        since = (listed_to or int(connection.created_at.timestamp())) - TAIL_OVERLAP
        offsets: Offsets = {}
        stamps: list[int] = []
        for walk in range(len(resource.walks)):
            start = since if resource.has_created_filter else None
            parameters = list_parameters(resource.name, walk, start=start, end=None, cursor=None)
            async for page, _ in iter_pages(api, resource.list_path, parameters):
                stamps.append(page.stamp)
                published = await self._publisher.publish_page(connection, resource, page, slice_id=slice_id)
                offsets |= published.offsets
        with database_errors():
            await self._pool.execute(ADVANCE, connection.id, resource.name, min(stamps))
        return offsets, since

    async def _walk_children(
        self, connection: Connection, api: StripeApi, child: Child, parent_id: str
    ) -> tuple[list[bytes], Offsets]:
        """Publish and return all children of a parent whose list was cut; the first page's stamp is that of the set."""
        children: list[bytes] = []
        offsets: Offsets = {}
        stamp, is_readable = 0, True
        path, _, query = object_path(child.list_path, parent_id).partition("?")
        async for page, is_first in iter_pages(api, path, parse_qsl(query)):
            if is_first:
                stamp = page.stamp
            await self._publisher.bury_unreadable(connection, page)
            is_readable = is_readable and not page.unreadable  # a set that lacks one is not complete
            offsets |= await self._publisher.publish_children(
                connection,
                child.name,
                parent_id,
                page.objects,
                stamp=stamp,
                is_complete=is_readable and not page.has_more,
            )
            children += page.objects
        return children, offsets


async def iter_pages(api: StripeApi, path: str, parameters: Params) -> AsyncIterator[tuple[Page, bool]]:
    """Yield the pages of a list, each with whether it is the first; begin anew when the cursor is gone."""
    cursor: str | None = None
    size = PageSize()
    while True:
        following = [("starting_after", cursor)] if cursor else []
        try:
            page = await api.list_page(path, [*parameters, *following], size=size)
        except StripeNotFoundError:
            if cursor is None:
                raise
            cursor = None
            continue
        yield page, cursor is None
        cursor = page.last.id if page.last else None
        if not page.has_more or cursor is None:
            return


def is_cut(child: Child, body: bytes) -> bool:
    """Tell whether the child list in a parent has more than it shows."""
    raw = msgspec.Raw(body)
    for step in child.path:
        fields = _FIELDS.decode(raw)
        if step not in fields or not bytes(fields[step]).startswith(b"{"):
            return False
        raw = fields[step]
    return msgspec.json.decode(raw, type=_HasMore).has_more


def as_inline(child: Child, children: Sequence[bytes]) -> bytes:
    """Return a document that carries the children where their parent would."""
    body = b'{"data":[' + b",".join(children) + b"]}"
    for step in reversed(child.path):
        body = b'{"' + step.encode() + b'":' + body + b"}"
    return body

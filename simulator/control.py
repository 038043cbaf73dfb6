"""`/_control/…`: whoever runs the simulator looks behind the curtain and pulls the strings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import asdict, fields, replace
from itertools import islice
from typing import Any

import msgspec
from aiohttp import web

from simulator.api import StripeApi
from simulator.business.scenarios import SCENARIOS
from simulator.config import Faults
from simulator.journal import Event
from simulator.keys import Key
from simulator.oddities import KINDS
from simulator.resources import INLINE, PERMISSIONS
from simulator.shapes import API_VERSION, State
from simulator.simulation import Simulation
from simulator.truth import count_objects, iter_children, iter_truth, own_truth
from simulator.world import World

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

_PAGE = 1000
_CHUNK = 100


class ControlError(ValueError):
    """A control request that makes no sense; its text says how to fix it."""


class Control:
    """The control API's handlers."""

    def __init__(self, simulation: Simulation, api: StripeApi) -> None:
        self.simulation = simulation
        self.api = api

    def routes(self) -> list[web.RouteDef]:
        """Give all routes."""
        return [
            web.get("/_control/state", self.show_state),
            web.post("/_control/business", self.set_business),
            web.post("/_control/scenarios/{name}", self.run_scenario),
            web.get("/_control/keys", self.list_keys),
            web.post("/_control/keys", self.create_key),
            web.post("/_control/keys/{secret}/{action}", self.change_key),
            web.get("/_control/faults", self.show_faults),
            web.post("/_control/faults", self.set_faults),
            web.delete("/_control/faults", self.clear_faults),
            web.post("/_control/limits", self.set_limits),
            web.get("/_control/events", self.list_events),
            web.post("/_control/events/{event_id}/resend", self.resend_event),
            web.get("/_control/requests", self.list_requests),
            web.get("/_control/truth", self.show_truth),
            web.get("/_control/truth/children", self.show_children),
        ]

    async def show_state(self, request: web.Request) -> web.Response:
        simulation = self.simulation
        endpoints = [
            {**simulation.endpoints.render(one), "connect": one.connect} for one in simulation.endpoints.by_id.values()
        ]
        return web.json_response(
            {
                "account": simulation.platform.account_id,
                "api_key": simulation.first_key,
                "api_version": API_VERSION,
                "account_version": simulation.config.account_version,
                "changes_per_second": simulation.business.rate,
                "connected_accounts": [name for name in simulation.worlds if name != simulation.platform.account_id],
                "events": len(simulation.platform.journal.events),
                "faults": asdict(simulation.faults),
                "livemode": simulation.config.livemode,
                "now": simulation.now(),
                "objects": sum(table.live for table in simulation.platform.store.tables.values()),
                "deliveries_pending": simulation.deliveries.pending,
                "scenarios": sorted(SCENARIOS),
                "webhook_endpoints": endpoints,
            }
        )

    async def set_business(self, request: web.Request) -> web.Response:
        rate = (await _body(request)).get("changes_per_second")
        if not isinstance(rate, int | float) or not 0 <= rate <= 10_000:
            raise ControlError("Give changes_per_second as a number between 0 and 10000.")
        self.simulation.business.rate = float(rate)
        return web.json_response({"changes_per_second": self.simulation.business.rate})

    async def run_scenario(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in SCENARIOS:
            raise ControlError(f"There is no scenario {name}. There are: {', '.join(sorted(SCENARIOS))}.")
        times = int(request.query.get("times", "1"))
        shop = self.simulation.shops[self._world(request).account_id]
        events = sum(self.simulation.business.run(name, shop=shop) for _ in range(times))
        return web.json_response({"events": events})

    async def list_keys(self, request: web.Request) -> web.Response:
        keys = [_render_key(key) for key in self.simulation.keys.keys.values()]
        return web.json_response({"keys": keys, "permissions": sorted(PERMISSIONS)})

    async def create_key(self, request: web.Request) -> web.Response:
        body = await _body(request)
        if body.get("kind") == "secret":
            return web.json_response(_render_key(self.simulation.keys.create_secret(body.get("secret"))))
        return web.json_response(
            _render_key(self.simulation.keys.create(body.get("permissions"), secret=body.get("secret")))
        )

    async def change_key(self, request: web.Request) -> web.Response:
        keys, secret, body = self.simulation.keys, request.match_info["secret"], await _body(request)
        actions: dict[str, Callable[[], Key | None]] = {
            "grant": lambda: keys.grant(secret, body.get("permissions", ())),
            "revoke": lambda: keys.revoke(secret, body.get("permissions", ())),
            "expire": lambda: keys.expire(secret),
            "rotate": lambda: keys.rotate(secret),
            "restrict": lambda: keys.restrict_addresses(secret, body.get("addresses")),
            "delete": lambda: keys.delete(secret),
        }
        if secret not in keys.keys:
            raise ControlError("There is no such key. GET /_control/keys lists them.")
        if request.match_info["action"] not in actions:
            raise ControlError(f"A key can be changed by: {', '.join(actions)}.")
        key = actions[request.match_info["action"]]()
        return web.json_response(_render_key(key) if key else {"deleted": True})

    async def show_faults(self, request: web.Request) -> web.Response:
        return web.json_response(asdict(self.simulation.faults))

    async def set_faults(self, request: web.Request) -> web.Response:
        wanted = await _body(request)
        known = {field.name for field in fields(Faults)}
        if unknown := set(wanted) - known:
            raise ControlError(
                f"There is no fault {', '.join(sorted(unknown))}. There are: {', '.join(sorted(known))}."
            )
        if wanted.get("odd_kind") not in (None, "", *KINDS):
            raise ControlError(f"There is no such oddity. There are: {', '.join(KINDS)}.")
        if "events_omitted" in wanted:
            wanted["events_omitted"] = tuple(wanted["events_omitted"])
        self.simulation.faults = replace(self.simulation.faults, **wanted)
        return await self.show_faults(request)

    async def clear_faults(self, request: web.Request) -> web.Response:
        self.simulation.faults = Faults()
        return await self.show_faults(request)

    async def set_limits(self, request: web.Request) -> web.Response:
        limits, body = self.simulation.limits, await _body(request)
        limits.enabled = bool(body.get("enabled", limits.enabled))
        limits.per_account = float(body.get("per_account", limits.per_account))
        limits.per_endpoint = float(body.get("per_endpoint", limits.per_endpoint))
        return web.json_response(
            {"enabled": limits.enabled, "per_account": limits.per_account, "per_endpoint": limits.per_endpoint}
        )

    async def list_events(self, request: web.Request) -> web.Response:
        world = self._world(request)
        since = int(request.query.get("since", "0"))
        limit = int(request.query.get("limit", str(_PAGE)))
        events = world.journal.events[since : since + limit]
        return web.json_response(
            {"events": [self._render_event(event) for event in events], "next": since + len(events)}
        )

    async def resend_event(self, request: web.Request) -> web.Response:
        world = self._world(request)
        event = world.journal.find(request.match_info["event_id"], now=self.simulation.now())
        if event is None:
            raise ControlError("There is no such event. GET /_control/events lists them.")
        self.simulation.deliveries.resend(world, event)
        return web.json_response({"resent": event.id})

    async def list_requests(self, request: web.Request) -> web.Response:
        since = float(request.query.get("since", "0"))
        return web.json_response({"requests": [asdict(entry) for entry in self.api.log if entry.at >= since]})

    async def show_truth(self, request: web.Request) -> web.StreamResponse:
        world, resource = self._world(request), request.query.get("resource")
        if resource is None:
            return web.json_response(count_objects(world))
        if resource == "own":
            return await self._stream(request, own_truth(world))
        if resource not in world.store.tables:
            raise ControlError(f"There is no resource {resource}. GET /_control/truth lists them.")
        return await self._stream(request, iter_truth(world, resource, start=_cursor(request)))

    async def show_children(self, request: web.Request) -> web.StreamResponse:
        resource = request.query.get("resource", "")
        if resource not in INLINE:
            raise ControlError(f"Children are carried by: {', '.join(INLINE)}.")
        return await self._stream(request, iter_children(self._world(request), resource, start=_cursor(request)))

    async def _stream(self, request: web.Request, rows: Iterator[tuple[int, State]]) -> web.StreamResponse:
        """Send NDJSON: everything, or `limit` rows and the cursor of the next ones in a header."""
        limit = int(request.query.get("limit", "0"))
        if limit:
            page = list(islice(rows, limit))
            headers = {"Next-Cursor": str(page[-1][0])} if len(page) == limit else {}
            return web.Response(body=_ndjson(page), content_type="application/x-ndjson", headers=headers)
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        while chunk := list(islice(rows, _CHUNK)):
            await response.write(_ndjson(chunk))
            await asyncio.sleep(0)  # a long truth must not stop the business
        await response.write_eof()
        return response

    def _world(self, request: web.Request) -> World:
        account = request.query.get("account", self.simulation.platform.account_id)
        if account not in self.simulation.worlds:
            raise ControlError(f"There is no account {account}. There are: {', '.join(self.simulation.worlds)}.")
        return self.simulation.worlds[account]

    def _render_event(self, event: Event) -> State:
        log = self.simulation.deliveries.log
        mine = [log[event.id, one] for one in self.simulation.endpoints.by_id if (event.id, one) in log]
        delivered = [one.delivered_at for one in mine if one.delivered_at is not None]
        skew = self.simulation.config.clock_skew_seconds
        return {
            "id": event.id,
            "type": event.type,
            "resource": event.resource,
            "object_id": event.object_id,
            "created": event.created,
            "created_ms": round((event.changed_at - skew) * 1000, 3),
            "delivered_ms": round((min(delivered) - skew) * 1000, 3) if delivered else None,
            "attempts": sum(one.attempts for one in mine),
            "status": mine[-1].status if mine else None,
            "seconds": mine[-1].seconds if mine else None,
            "lost": any(one.lost for one in mine),
        }


@web.middleware
async def explain_errors(request: web.Request, handler: Answer) -> web.StreamResponse:
    """Answer a control request that makes no sense with its reason."""
    if not request.path.startswith("/_control/"):
        return await handler(request)
    try:
        return await handler(request)
    except (ValueError, TypeError) as error:
        return web.json_response({"error": str(error)}, status=400)


def _ndjson(rows: list[tuple[int, State]]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for _, row in rows)


async def _body(request: web.Request) -> dict[str, Any]:
    text = await request.text()
    body = json.loads(text) if text else {}
    if not isinstance(body, dict):
        raise ControlError("Send a JSON object.")
    return body


def _cursor(request: web.Request) -> int:
    return int(request.query.get("cursor", "0"))


def _render_key(key: Key) -> State:
    return {
        "secret": key.secret,
        "permissions": None if key.permissions is None else sorted(key.permissions),
        "expired": key.expired,
        "allowed_addresses": None if key.allowed_addresses is None else sorted(key.allowed_addresses),
    }

"""List and retrieve: what Stripe answers to reads of one account."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from simulator import errors
from simulator.expand import Expander
from simulator.listing import Page, select_page
from simulator.parameters import Parameters, parse_expand, parse_list
from simulator.resources import ALL, BY_NESTED_PATH, BY_PATH, INLINE, Nested, Resource
from simulator.shapes import State
from simulator.store import Table
from simulator.versions import render_for_version
from simulator.world import World

Pairs = Sequence[tuple[str, str]]


class Reads:
    """Reads in one API version. Every method raises `ApiError` as Stripe would."""

    def __init__(self, world: World, version: str) -> None:
        self.world = world
        self.version = version
        self.expander = Expander(world, self.present)

    def present(self, resource: str, state: State) -> State:
        """Give an object in the version of this request."""
        return render_for_version(resource, self.world.renderer.render(resource, state), state, self.version)

    def list_resource(self, row: Resource, pairs: Pairs) -> State:
        """List a resource at its own address."""
        if row.livemode_only is not None and row.livemode_only != self.world.renderer.livemode:
            raise errors.ApiError(400, "This endpoint is only available in testmode. Try using your test keys instead.")
        table = self.world.store.tables[row.name]
        parameters = parse_list(pairs, table=table, resource=row.name, filters=row.filters, created=row.created)
        if row.required and row.required not in parameters.filters:
            raise errors.bad_parameter(f"Missing required param: {row.required}.", row.required, "parameter_missing")
        if row.name == "balance_transaction" and (payout := parameters.filters.get("payout")):
            self._require_automatic(payout)
        indexed = next((name for name in row.indexed if name in parameters.filters), None)
        among = table.indexes[indexed].get(parameters.filters[indexed], []) if indexed else None
        matches = _matcher(row, parameters.filters, self.world.renderer.templates[row.name])
        page = select_page(table, parameters.query, matches=matches, among=among)
        return self._list(row.name, page, parameters, f"/v1/{row.path}")

    def list_nested(self, nested: Nested, parent_id: str, pairs: Pairs) -> State:
        """List what hangs below a parent."""
        parent = BY_PATH[nested.parent]
        state = self.world.store.find(parent.name, parent_id)
        if state is None:
            raise errors.no_such(parent.name, parent_id)
        url = f"/v1/{nested.parent}/{parent_id}/{nested.tail}"
        if nested.by is None:
            return self._list_children(parent.name, state, pairs, url)
        table = self.world.store.tables[nested.resource]
        parameters = parse_list(
            pairs, table=table, resource=nested.resource, filters=nested.filters, created=nested.created
        )
        filters = parameters.filters
        if nested.resource == "tax_id":
            filters = {**filters, "owner": parent_id}
        matches = _matcher(ALL[nested.resource], filters, self.world.renderer.templates[nested.resource])
        among = table.indexes[nested.by].get(parent_id, [])
        page = select_page(table, parameters.query, matches=matches, among=among)
        return self._list(nested.resource, page, parameters, url)

    def list_subscription_items(self, pairs: Pairs) -> State:
        """List the items of the subscription that the parameters name."""
        wanted = dict(pairs).get("subscription")
        if not wanted:
            raise errors.bad_parameter("Missing required param: subscription.", "subscription", "parameter_missing")
        state = self.world.store.find("subscription", wanted)
        if state is None:
            raise errors.no_such("subscription", wanted, param="subscription", status=400)
        others = [pair for pair in pairs if pair[0] != "subscription"]
        return self._list_children("subscription", state, others, "/v1/subscription_items")

    def retrieve(self, row: Resource, object_id: str, pairs: Pairs) -> State:
        """Give one object; a deleted customer is still there as a stub."""
        state = self.world.store.find(row.name, object_id)
        if state is None:
            if row.leaves_stub and object_id in self.world.store.tables[row.name].positions:
                return {"id": object_id, "object": row.name, "deleted": True}
            raise errors.no_such(row.name, object_id)
        return self.expander.expand(self.present(row.name, state), parse_expand(pairs))

    def retrieve_nested(self, nested: Nested, parent_id: str, object_id: str, pairs: Pairs) -> State:
        """Give one object below its parent."""
        if nested.resource == "capability":  # every account has the same ones
            object_id = f"{parent_id}/{object_id}"
        if nested.by is not None:
            return self.retrieve(ALL[nested.resource], object_id, pairs)
        parent = BY_PATH[nested.parent]
        state = self.world.store.find(parent.name, parent_id)
        if state is None:
            raise errors.no_such(parent.name, parent_id)
        for child in self.world.renderer.children(parent.name, state):
            if child["id"] == object_id:
                return self.expander.expand(child, parse_expand(pairs))
        raise errors.no_such(nested.resource, object_id)

    def retrieve_subscription_item(self, object_id: str, pairs: Pairs) -> State:
        """Give one subscription item; there is no index of them, so this walks."""
        table = self.world.store.tables["subscription"]
        for position in reversed(range(len(table.ids))):
            state = table.at(position) or {}
            if any(child["id"] == object_id for child in state.get("_children", ())):
                children = self.world.renderer.children("subscription", state)
                child = next(one for one in children if one["id"] == object_id)
                return self.expander.expand(child, parse_expand(pairs))
        raise errors.no_such("subscription_item", object_id)

    def _require_automatic(self, payout_id: str) -> None:
        payout = self.world.store.find("payout", payout_id)
        if payout is None:
            raise errors.no_such("payout", payout_id, param="payout", status=400)
        if not payout["automatic"]:
            raise errors.bad_parameter(
                "Balance transaction history can only be filtered on automatic transfers, not manual.", "payout"
            )

    def _list_children(self, parent: str, state: State, pairs: Pairs, url: str) -> State:
        child = INLINE[parent].child
        table = Table(())
        for entry in reversed(state.get("_children", ())):  # a page gives the newest first
            table.insert(entry["id"], entry, 0)
        parameters = parse_list(pairs, table=table, resource=child, filters=(), created=False)
        return self._list(child, select_page(table, parameters.query, matches=None), parameters, url)

    def _list(self, resource: str, page: Page, parameters: Parameters, url: str) -> State:
        body: State = {
            "object": "list",
            "data": [self.present(resource, state) for state in page.states],
            "has_more": page.has_more,
            "url": url,
        }
        return self.expander.expand(body, parameters.expand)


def find_read(path: str) -> tuple[str, Resource | Nested, tuple[str, ...]] | None:
    """Give what a path below /v1/ reads: its permission, the row, and the ids in the path; None if nothing."""
    segments = path.split("/")
    if (row := BY_PATH.get(path)) and row.permission and path not in ("sources", "mandates"):
        return row.permission, row, ()
    if row := BY_PATH.get("/".join(segments[:-1])):
        return row.permission, row, (segments[-1],)
    if len(segments) > 2 and (nested := BY_NESTED_PATH.get(("/".join(segments[:-2]), segments[-1]))):
        return nested.permission, nested, (segments[-2],)
    if len(segments) > 3 and (nested := BY_NESTED_PATH.get(("/".join(segments[:-3]), segments[-2]))):
        return nested.permission, nested, (segments[-3], segments[-1])
    return None


def _matcher(row: Resource, filters: Mapping[str, str], template: State) -> Callable[[State], bool] | None:
    wanted = {_stem(name): value for name, value in filters.items()}
    if special := _SPECIAL.get(row.name):
        wanted, own = special(wanted)
    else:
        own = None
    if not wanted and own is None:
        return None

    def matches(state: State) -> bool:
        if own is not None and not own(state):
            return False
        return all(_text(state, template, name) == value for name, value in wanted.items())

    return matches


def _text(state: State, template: State, name: str) -> str:
    value = state.get(name, state.get(f"_{name}", template.get(name)))
    return str(value).lower() if isinstance(value, bool) else str(value)


def _stem(name: str) -> str:
    return name.partition("[")[0]


Special = tuple[dict[str, str], Callable[[State], bool] | None]


def _subscriptions(wanted: dict[str, str]) -> Special:
    status = wanted.pop("status", None)
    is_shown = _outside_clocks(wanted)
    if status is not None and status not in ("all", "ended"):
        return {**wanted, "status": status}, is_shown
    ended = ("canceled", "incomplete_expired")
    if status is None:
        return wanted, lambda state: is_shown(state) and state["status"] not in ended
    return wanted, lambda state: is_shown(state) and (status == "all" or state["status"] in ended)


def _of_clocks(wanted: dict[str, str]) -> Special:
    return wanted, _outside_clocks(wanted)


def _outside_clocks(wanted: dict[str, str]) -> Callable[[State], bool]:
    """Hide what belongs to a test clock, unless the clock or its customer is named."""
    are_shown = "test_clock" in wanted or "customer" in wanted
    return lambda state: are_shown or state.get("test_clock") is None


def _invoiceitems(wanted: dict[str, str]) -> Special:
    pending = wanted.pop("pending", None)
    if pending is None:
        return wanted, None
    return wanted, lambda state: (state.get("invoice") is None) == (pending == "true")


def _tax_ids(wanted: dict[str, str]) -> Special:
    owner = wanted.pop("owner", "self")
    return wanted, lambda state: owner in (state["owner"]["type"], state["owner"].get("customer"))


def _features(wanted: dict[str, str]) -> Special:
    archived = wanted.pop("archived", "false")
    return {**wanted, "active": "false" if archived == "true" else "true"}, None


_SPECIAL: dict[str, Callable[[dict[str, str]], Special]] = {
    "customer": _of_clocks,
    "quote": _of_clocks,
    "subscription": _subscriptions,
    "invoiceitem": _invoiceitems,
    "tax_id": _tax_ids,
    "entitlements.feature": _features,
}

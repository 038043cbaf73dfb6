"""One Stripe account's objects and how they change: every change is stored and told as events."""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterable
from typing import Any

from simulator.journal import EVENT_DAYS, Event, Journal
from simulator.render import Renderer
from simulator.resources import ALL
from simulator.shapes import Shapes, State
from simulator.singletons import Balance, own_states
from simulator.store import Store, pack, unpack

Listener = Callable[[Event], None]

_BELONG_TO_ACCOUNTS = frozenset({"account", "capability", "person", "bank_account"})
# Besides `….updated`, these carry what they replaced.
_TELLS_PREVIOUS = frozenset(
    {"charge.refunded", "charge.dispute.closed", "application_fee.refunded", "transfer.reversed"}
)


class World:
    """The truth of one account.

    `now` (Unix seconds) is set by whoever drives the changes: the history, or the clock. Events older than
    thirty days before `today` are not kept.
    """

    def __init__(
        self,
        shapes: Shapes,
        account_id: str | None = None,
        *,
        rng: random.Random,
        clock: Callable[[], float],
        livemode: bool,
    ) -> None:
        self.shapes = shapes
        self.rng = rng
        self.account_id = account_id or self.new_id("acct", 16)
        self.connected_to: str | None = None
        self.store = Store()
        self.journal = Journal()
        self.renderer = Renderer(shapes, self.store, clock, livemode=livemode)
        self.now = clock()
        self.singletons = own_states(self.account_id, self.second)
        self._balance = Balance(self.store.tables["balance_transaction"], clock, livemode=livemode)
        self.today = self.now
        self.request_id: str | None = None
        self.listeners: list[Listener] = []
        self.count = 0

    @property
    def second(self) -> int:
        """The whole second of the change under way, as Stripe's `created` has it."""
        return int(self.now)

    def new_id(self, prefix: str, size: int = 24) -> str:
        """Make an id such as `ch_3Nq…`, the same one for the same seed."""
        token = b64encode(self.rng.randbytes(size * 3 // 4), b"xQ").decode()
        return f"{prefix}_{token}" if prefix else token

    def add(self, resource: str, *events: str, object_id: str | None = None, **fields: Any) -> str:
        """Create an object, tell `events` about it, and give its id."""
        object_id = object_id or self.new_id(ALL[resource].prefix)
        state: State = {"id": object_id, **fields}
        if "created" in self.shapes.templates[resource]:
            state.setdefault("created", self.second)
        data = self.store.tables[resource].insert(object_id, state, self.second)
        self.count += 1
        self._tell(events, resource, object_id, data)
        return object_id

    def change(self, resource: str, object_id: str, *events: str, **changes: Any) -> None:
        """Change a live object and tell `events` about it; what changes nothing is not told."""
        old = self.get(resource, object_id)
        before = pack(old)
        data = self.store.tables[resource].put(object_id, {**old, **changes})
        if data != before:
            self._tell(events, resource, object_id, data, before)

    def remove(self, resource: str, object_id: str, *events: str) -> None:
        """Delete an object for good and tell `events` about it."""
        data = pack(self.get(resource, object_id))
        self.store.tables[resource].remove(object_id)
        self._tell(events, resource, object_id, data)

    def change_own(self, resource: str, *events: str, **changes: Any) -> None:
        """Change what the account has only one of (`account`, `balance_settings`)."""
        old = self.singletons[resource]
        self.singletons[resource] = {**old, **changes}
        self._tell(events, resource, old.get("id", ""), pack(self.singletons[resource]), pack(old))

    def get(self, resource: str, object_id: str) -> State:
        """Give a live object's state."""
        state = self.store.find(resource, object_id)
        if state is None:
            raise LookupError(f"There is no {resource} {object_id}.")
        return state

    def render_balance(self) -> State:
        """Give the balance as of now."""
        return self._balance.render()

    def render_own(self, name: str) -> State:
        """Give one of the objects that an account has only one of."""
        return self.render_balance() if name == "balance" else self.renderer.render(name, self.singletons[name])

    def pick(self, resource: str, *, newest: int = 0) -> str | None:
        """Give the id of some live object, of the `newest` ones if given, or None if luck finds none."""
        table = self.store.tables[resource]
        size = len(table.ids)
        low = max(0, size - newest) if newest else 0
        for _ in range(20 if size else 0):
            position = self.rng.randrange(low, size)
            if table.packed[position] is not None:
                return table.ids[position]
        return None

    def tell(self, event_type: str, resource: str, state: State) -> None:
        """Tell one event about an object that did not change by itself, or that is not kept."""
        self._tell((event_type,), resource, state.get("id", ""), pack(state))

    def _account_of(self, resource: str, data: bytes) -> str | None:
        """Events of connected accounts name them; the platform's own don't."""
        if self.connected_to is not None:
            return self.account_id
        if resource not in _BELONG_TO_ACCOUNTS:
            return None
        state = unpack(data)
        owner: str = state["id"] if resource == "account" else state["account"]
        return None if owner == self.account_id else owner

    def _tell(self, types: Iterable[str], resource: str, object_id: str, data: bytes, old: bytes | None = None) -> None:
        if self.second < self.today - EVENT_DAYS * 86_400:
            return
        for event_type in types:
            tells_previous = event_type.endswith(".updated") or event_type in _TELLS_PREVIOUS
            event = Event(
                id=self.new_id("evt"),
                type=event_type,
                created=self.second,
                resource=resource,
                object_id=object_id,
                data=data,
                previous=old if tells_previous else None,
                changed_at=self.now,
                request_id=self.request_id,
                account=self._account_of(resource, data),
            )
            self.journal.append(event)
            for listener in self.listeners:
                listener(event)

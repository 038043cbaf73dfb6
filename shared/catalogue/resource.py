"""The shape of a catalogue row: what we must know of a Stripe resource to copy it and keep it right."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

Walk = tuple[tuple[str, str], ...]
PARENT = "_parent.currency"  # the currency of an amount that is that of its parent


class Group(StrEnum):
    """A block of rows on Stripe's page for restricted keys."""

    CORE = "core"
    BILLING = "billing"
    CONNECT = "connect"


class Kind(StrEnum):
    """What a typed column holds in Stripe's JSON."""

    TEXT = "text"
    NUMBER = "number"
    BOOLEAN = "boolean"
    #: Whole seconds since 1970-01-01 UTC.
    TIMESTAMP = "timestamp"


@dataclass(frozen=True, slots=True)
class Column:
    """A typed column beside the full object, read from one place in Stripe's JSON."""

    name: str
    kind: Kind
    path: tuple[str, ...]
    #: Of an amount in the currency's smallest unit: where its currency lies. One that begins with `PARENT` lies there.
    currency: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Child:
    """Objects that arrive in a list inside their parent and have a table of their own."""

    name: str
    table: str
    #: Where the list object lies in the parent.
    path: tuple[str, ...]
    #: Where the rest is, when the list in the parent is cut; `{id}` is the parent's id. May hold a query.
    list_path: str
    columns: tuple[Column, ...]


@dataclass(frozen=True, slots=True)
class Within:
    """A list of other objects that leads to objects which a resource's own list does not show.

    Where a parent carries its children when that is asked for, one page of parents brings them along; what is cut
    there, or never carried, is listed for each parent.
    """

    #: Where the parents are listed.
    list_path: str
    #: The field in which a parent carries its children once it is expanded; `None` if it never does.
    field: str | None
    #: Where the children of one parent are listed; names in braces are fields of the parent. May hold a query.
    rest_path: str


@dataclass(frozen=True, slots=True)
class Resource:
    """One Stripe object type: where it is listed, what it needs, which events tell of it, what we type."""

    name: str
    #: The value of `object` in Stripe's JSON.
    object: str
    table: str
    #: Where the objects are listed; of a singleton, where the one object is.
    list_path: str
    group: Group
    #: Stripe's slug without prefix and suffix: `charge` of `rak_charge_read`.
    permission: str
    #: The name of the permission's row on Stripe's page for restricted keys.
    toggle: str
    columns: tuple[Column, ...]
    #: Event types whose `data.object` is this object.
    events: tuple[str, ...] = ()
    #: Those of `events` after which the object is gone.
    deleted_by: tuple[str, ...] = ()
    #: Event types about other objects after which this one may have changed.
    hinted_by: tuple[str, ...] = ()
    #: Of those, with the type of this object's own event that tells as much in the same second or later.
    told_by: tuple[tuple[str, str], ...] = ()
    #: Where the object of such an event names this one, if not in a field called like it; `*` is each of a list.
    named_in: tuple[str, ...] = ()
    #: Whether the list takes `created[gte]` and its like.
    has_created_filter: bool = False
    #: List parameters. The list is walked once per entry, since some of Stripe's defaults hide objects.
    walks: tuple[Walk, ...] = ((),)
    #: Other lists that are walked as well, whole each time, since the resource's own one hides these objects.
    within: tuple[Within, ...] = ()
    #: Fields that Stripe gives only when they are asked for, and that we promise. No event has them, so an event of
    #: the object only hints that it changed.
    expand: tuple[str, ...] = ()
    #: Sentences that say what of the resource Stripe's lists hide and nothing else tells us.
    hidden: tuple[str, ...] = ()
    children: tuple[Child, ...] = ()
    #: Synced unless the person chooses otherwise.
    is_default: bool = True
    is_singleton: bool = False
    #: False for objects that carry no `id`: there is one per account, so the account's id names it.
    has_id: bool = True
    #: Exists in test mode alone; Stripe answers 400 in live mode.
    is_test_only: bool = False
    #: Changes without an event, for example a balance transaction from pending to available.
    changes_silently: bool = False
    #: False for what `/v1/events` omits or knows nothing of: listed again instead.
    is_in_event_feed: bool = True
    #: False where `permission` is a guess that only the answer to a call can settle.
    permission_is_certain: bool = True
    #: Overrides `retrieve_path`.
    retrieve: str | None = None

    @property
    def walk_count(self) -> int:
        """How many lists have to be walked to see every object; those of `within` have the last numbers."""
        return len(self.walks) + len(self.within)

    def within_of(self, walk: int) -> Within | None:
        """Return the list of parents that the walk of this number reads; `None` for the resource's own list."""
        return self.within[walk - len(self.walks)] if walk >= len(self.walks) else None

    @property
    def first_list(self) -> tuple[str, Walk]:
        """Path and parameters of the list whose answer tells whether the key may read the resource."""
        return (self.list_path, self.walks[0]) if self.walks else (self.within[0].list_path, ())

    @property
    def retrieve_path(self) -> str:
        """Where one object is read; `{id}` stands for its id, and is missing where there is only one."""
        if self.retrieve is not None:
            return self.retrieve
        return self.list_path if self.is_singleton else f"{self.list_path}/{{id}}"

    @property
    def read_permission(self) -> str:
        """The permission that a restricted key needs to list this, as Stripe's errors name it."""
        return f"rak_{self.permission}_read"


@dataclass(frozen=True, slots=True)
class Permission:
    """One row of the checklist for creating a restricted key."""

    #: None for the webhook endpoints, which Stripe shows outside the three groups.
    group: Group | None
    #: As Stripe's errors name it: `rak_charge_read`.
    slug: str
    toggle: str
    #: Names of the resources that need it; empty where the service itself does.
    resources: tuple[str, ...]
    #: Needed by the service itself or by a resource that is synced by default.
    required: bool
    #: False where the slug is a guess that only the answer to a call can settle.
    is_certain: bool = True


def texts(paths: str) -> Iterator[Column]:
    """Columns of text; `paths` are separated by spaces, and `card.brand` becomes the column `card_brand`."""
    return _columns(Kind.TEXT, paths)


def numbers(paths: str) -> Iterator[Column]:
    """Columns of numbers, with paths as in `texts`."""
    return _columns(Kind.NUMBER, paths)


def amounts(paths: str, *, currency: str = "currency") -> Iterator[Column]:
    """Columns of amounts in the smallest unit of the currency at the path `currency`, with paths as in `texts`."""
    return _columns(Kind.NUMBER, paths, currency)


def decimal_amounts(paths: str, *, currency: str = "currency") -> Iterator[Column]:
    """Columns of such amounts that Stripe gives as text, since they can be less than the smallest unit."""
    return _columns(Kind.TEXT, paths, currency)


def booleans(paths: str) -> Iterator[Column]:
    """Columns of true and false, with paths as in `texts`."""
    return _columns(Kind.BOOLEAN, paths)


def timestamps(paths: str) -> Iterator[Column]:
    """Columns of unix seconds, with paths as in `texts`."""
    return _columns(Kind.TIMESTAMP, paths)


def event_types(family: str, endings: str) -> tuple[str, ...]:
    """Event types of one family: `("charge", "failed captured")` gives `charge.failed, charge.captured`."""
    return tuple(f"{family}.{ending}" for ending in endings.split())


def _columns(kind: Kind, paths: str, currency: str = "") -> Iterator[Column]:
    for path in paths.split():
        steps = tuple(path.split("."))
        yield Column("_".join(steps), kind, steps, tuple(currency.split(".")) if currency else ())

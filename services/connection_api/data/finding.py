"""Finds an object by its id alone: in which account, at which destination, in which table."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from services.connection_api.data.objects import Found, read_object
from services.connection_api.data.sources import Source, Sources
from services.connection_api.data.tables import TABLE_VIEWS, TableView
from shared.catalogue import BY_NAME, Resource
from shared.db import Pool, database_errors
from shared.errors import AppError
from shared.log import get_logger

MOST_ASKED = 20  # connections in whose rows an id is looked for
# How ids of Stripe's begin; merchants choose those of coupons, plans and products. https://docs.stripe.com/api
PREFIXES: Mapping[str, str] = MappingProxyType(
    {
        "acct": "connected_account",
        "ch": "charge",
        "clock": "test_clock",
        "cn": "credit_note",
        "cus": "customer",
        "dp": "dispute",
        "du": "dispute",
        "fee": "application_fee",
        "file": "file",
        "ii": "invoiceitem",
        "in": "invoice",
        "inpay": "invoice_payment",
        "issfr": "early_fraud_warning",
        "link": "file_link",
        "pi": "payment_intent",
        "plan": "plan",
        "pm": "payment_method",
        "pmc": "payment_method_configuration",
        "po": "payout",
        "price": "price",
        "prod": "product",
        "promo": "promotion_code",
        "prv": "review",
        "py": "charge",
        "pyr": "refund",
        "qt": "quote",
        "re": "refund",
        "seti": "setup_intent",
        "shr": "shipping_rate",
        "sub": "subscription",
        "sub_sched": "subscription_schedule",
        "tr": "transfer",
        "tu": "topup",
        "txi": "tax_id",
        "txn": "balance_transaction",
        "txr": "tax_rate",
    }
)
TOLD_BY_EVENTS = """
SELECT DISTINCT connection_id, resource FROM event_log
WHERE object_id = $1 AND resource IS NOT NULL AND connection_id = ANY (ARRAY(SELECT id FROM connections)) LIMIT $2
"""
SYNCING = (
    "SELECT id FROM connections WHERE $1 = ANY (resources) AND state <> 'removing' ORDER BY created_at, id LIMIT $2"
)


@dataclass(frozen=True, slots=True)
class Located:
    """An object and where its row lies."""

    source: Source
    found: Found

    @property
    def path(self) -> str:
        """What follows the address of the account's data."""
        return f"{self.found.table.name}/{self.found.id}"


def resource_of(object_id: str) -> Resource | None:
    """Return of what kind an id is by how it begins, or `None`: merchants choose some ids themselves."""
    parts = object_id.split("_")
    begins = ("_".join(parts[:end]) for end in range(len(parts) - 1, 0, -1))
    name = next((PREFIXES[begin] for begin in begins if begin in PREFIXES), None)
    return BY_NAME.get(name) if name else None


class Finder:
    """Looks for objects; every method raises `DatabaseUnavailableError`."""

    def __init__(self, pool: Pool, sources: Sources) -> None:
        self._pool = pool
        self._sources = sources

    async def find(self, object_id: str) -> Sequence[Located]:
        """Return where rows of the object are; a destination that does not answer counts as having none.

        Events tell where it is. Of what no event has told, the rows of connections that sync its kind are asked.
        """
        with database_errors():
            told = await self._pool.fetch(TOLD_BY_EVENTS, object_id, MOST_ASKED)
        places = {(row["connection_id"], row["resource"]) for row in told if row["resource"] in BY_NAME}
        if not places and (resource := resource_of(object_id)):
            with database_errors():
                rows = await self._pool.fetch(SYNCING, resource.name, MOST_ASKED)
            places = {(row["id"], resource.name) for row in rows}
        looks = [self._look(one, TABLE_VIEWS[BY_NAME[name].table], object_id) for one, name in sorted(places)]
        return [located for some in await asyncio.gather(*looks) for located in some]

    async def _look(self, connection_id: str, table: TableView, object_id: str) -> Sequence[Located]:
        """Return the rows at each destination of the connection."""
        found = []
        try:
            first = await self._sources.find(connection_id)
            for destination in first.others:
                source = replace(first, destination=destination)
                async with self._sources.open(source) as read:
                    row = await read_object(read, source, table, object_id)
                found += [Located(source, row)] if row else []
        except AppError as error:
            get_logger().info("object_not_looked_for", connection=connection_id, reason=error.message)
        return found

"""The real Postgres destination, with its rows to be read."""

from __future__ import annotations

import json
from typing import Any

import asyncpg

from services.destination_writer.destinations.postgres import PostgresDestination
from shared.destinations import parse_postgres_url


class InspectedPostgres(PostgresDestination):
    """A destination whose rows a test can read."""

    def __init__(self, url: str, schema: str, *, removes_deleted: bool = False) -> None:
        super().__init__(*parse_postgres_url(url, schema=schema), removes_deleted=removes_deleted)
        self.url, self.schema = url, schema

    async def query(self, sql: str) -> list[asyncpg.Record]:
        connection = await asyncpg.connect(self.url)
        try:
            return await connection.fetch(sql)
        finally:
            await connection.close()

    async def rows(self, table: str) -> dict[tuple[str, bool, str], dict[str, Any]]:
        regclass = f'to_regclass(\'"{self.schema}"."{table}"\')'
        if not await self.query(f"SELECT WHERE {regclass} IS NOT NULL"):
            return {}
        parent = "_parent" if table.endswith("items") and table != "invoiceitems" else "NULL"
        sql = f"""SELECT _account, _livemode, id, _stamp AS stamp, _deleted AS deleted, data::text AS data, xmin::text,
                         {parent} AS parent FROM "{self.schema}"."{table}" """
        found = {
            (row["_account"], row["_livemode"], row["id"]): {
                "stamp": row["stamp"],
                "deleted": row["deleted"],
                "data": json.loads(row["data"]),
                "parent": row["parent"],
                "xmin": row["xmin"],
            }
            for row in await self.query(sql)
        }
        buried = await self.tombstones(table)
        assert not buried.keys() & found.keys()
        return found | buried

    async def tombstones(self, table: str) -> dict[tuple[str, bool, str], dict[str, Any]]:
        """Return the tombstones of a table, as rows without data."""
        if not await self.query(f"SELECT WHERE to_regclass('\"{self.schema}\"._tombstones') IS NOT NULL"):
            return {}
        sql = f"SELECT *, xmin::text FROM \"{self.schema}\"._tombstones WHERE _table = '{table}'"
        return {
            (row["_account"], row["_livemode"], row["id"]): {
                "stamp": row["_stamp"], "deleted": True, "data": None, "parent": None, "xmin": row["xmin"],
            }
            for row in await self.query(sql)
        }  # fmt: skip

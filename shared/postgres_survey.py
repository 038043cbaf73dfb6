"""Looks at what is in a Postgres schema: whose it is, what of ours is there and whole, and what a person has to mend.

The check that is shown before an address is kept and the code that makes tables look through this one module.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import msgspec

from shared.db import Connection, Row
from shared.postgres_faults import Fault
from shared.postgres_tables import Table, TableColumn, add_sql, literal, quote
from shared.postgres_views import OURS

ENCODING = "UTF8"
LEAST_STATEMENT_TIMEOUT = 5000  # milliseconds: a batch of a backfill may take seconds
NAMED = 10  # tables in one sentence

_PLACE = """
SELECT current_user AS "user", current_database() AS database, current_setting('server_encoding') AS encoding,
       (SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout') AS statement_timeout,
       (SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression') AS has_lz4,
       EXISTS (SELECT FROM pg_namespace WHERE nspname = $1) AS has_schema
"""
# A view has no key and no owner of rows; what can be known of it is its kind.
_RELATIONS = f"""
SELECT c.relname AS name, c.relkind::text AS kind, pg_get_userbyid(c.relowner) AS owner,
       pg_has_role(c.relowner, 'USAGE') AS is_owner, row_security_active(c.oid) AS has_row_security,
       ARRAY(SELECT p FROM unnest('{{SELECT,INSERT,UPDATE,DELETE}}'::text[]) AS p
             WHERE NOT has_table_privilege(c.oid, p)) AS denied,
       ARRAY(SELECT jsonb_build_object('is_unique', i.indisunique AND i.indimmediate, 'columns', (
                        SELECT jsonb_agg(a.attname ORDER BY k.place)
                        FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k (n, place)
                        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.n
                        WHERE k.place <= i.indnkeyatts))::text
             FROM pg_index i WHERE i.indrelid = c.oid AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
       ) AS indexes,
       ARRAY(SELECT DISTINCT v.relname::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid
             JOIN pg_class v ON v.oid = r.ev_class AND v.oid <> c.oid
             WHERE d.classid = 'pg_rewrite'::regclass AND d.refclassid = 'pg_class'::regclass AND d.refobjid = c.oid
               AND starts_with(obj_description(v.oid, 'pg_class'), {literal(OURS)}) ORDER BY 1) AS views,
       (SELECT jsonb_object_agg(a.attname, jsonb_build_array(format_type(a.atttypid, a.atttypmod), a.attgenerated <> '',
                                                             a.attnotnull AND NOT a.atthasdef AND a.attidentity = ''))
        FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)::text AS columns
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = $1 AND c.relname = ANY ($2::text[]) AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""
KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}
# Bytes of the same text: both hold what we write.
_SAME_TYPE = {"character varying": "text"}


@dataclass(frozen=True, slots=True)
class FoundColumn:
    """A column that is there."""

    type: str
    is_generated: bool
    is_required: bool  # NOT NULL and without a value of its own


@dataclass(frozen=True, slots=True)
class Relation:
    """A table or view that is there."""

    name: str
    kind: str  # as `relkind` has it
    owner: str
    is_owner: bool  # we may change it
    has_row_security: bool  # it applies to us
    denied: tuple[str, ...]  # rights that we lack
    unique: tuple[frozenset[str], ...]  # columns of unique indexes
    indexed: tuple[tuple[str, ...], ...]  # columns of all indexes, in order
    columns: Mapping[str, FoundColumn]
    views: tuple[str, ...]  # of ours, that read it


@dataclass(frozen=True, slots=True)
class TableFault:
    """What is wrong with one table, and the statement that mends it."""

    table: str
    code: str
    detail: str
    sql: str | None = None


@dataclass(frozen=True, slots=True)
class Survey:
    """What was found in a schema."""

    schema: str
    user: str
    database: str
    encoding: str
    statement_timeout: int  # milliseconds; 0: none
    compression: str | None
    has_schema: bool
    relations: Mapping[str, Relation]

    def missing(self, tables: Iterable[Table]) -> list[Table]:
        """Return the tables that are not there."""
        return [table for table in tables if table.name not in self.relations]

    def lacking(self, table: Table) -> list[TableColumn]:
        """Return the columns that a table of ours has not yet."""
        found = self.relations.get(table.name)
        if found is None or self._foreign(table, found):
            return []
        return [one for one in table.columns if one.name not in found.columns]

    def is_indexed(self, table: Table) -> bool:
        """Tell whether the table has an index that begins with the columns of `index`."""
        found = self.relations[table.name]
        return any(columns[: len(table.index)] == table.index for columns in found.indexed)

    def place_fault(self) -> Fault | None:
        """Return what is wrong with the database as a whole, if anything is."""
        if self.encoding != ENCODING:
            return Fault(
                "destination_encoding",
                f"The database {self.database} keeps text as {self.encoding}, which has not all characters that "
                "Stripe sends.",
                "Use a database in UTF8. An existing one can't be changed; an administrator can make another:",
                f"CREATE DATABASE {quote(f'{self.database}_utf8'[-63:])} OWNER {quote(self.user)} "
                "ENCODING 'UTF8' TEMPLATE template0;",
            )
        return self.timeout_fault()

    def timeout_fault(self, *, least: int | None = LEAST_STATEMENT_TIMEOUT) -> Fault | None:
        """Return that Postgres breaks statements off earlier than after `least` milliseconds, or at all, if it does."""
        if not self.statement_timeout or (least is not None and self.statement_timeout >= least):
            return None
        return Fault(
            "destination_statement_timeout",
            f"Postgres breaks off statements of {self.user} after {self.statement_timeout} ms (statement_timeout).",
            "Writing a batch may take seconds. Give this user more time:",
            f"ALTER ROLE {quote(self.user)} IN DATABASE {quote(self.database)} SET statement_timeout = '60s';",
        )

    def table_faults(self, tables: Iterable[Table]) -> list[TableFault]:
        """Return what is wrong with tables that are there: the first thing of each."""
        found = ((table, self.relations[table.name]) for table in tables if table.name in self.relations)
        return [fault for table, relation in found if (fault := self._fault(table, relation))]

    def _fault(self, table: Table, found: Relation) -> TableFault | None:
        name = f"{quote(self.schema)}.{quote(table.name)}"
        if detail := self._foreign(table, found):
            what = {"v": "VIEW", "m": "MATERIALIZED VIEW", "f": "FOREIGN TABLE"}.get(found.kind, "TABLE")
            sql = f"ALTER {what} {name} RENAME TO {quote(f'{table.name[:58]}_old')};"
            return TableFault(table.name, "destination_foreign_tables", detail, sql)
        if fault := self._columns_fault(name, table, found):
            return fault
        if found.denied:
            sql = f"GRANT SELECT, INSERT, UPDATE, DELETE ON {name} TO {quote(self.user)};"
            detail = f"it belongs to {found.owner}, and {', '.join(found.denied)} is not granted"
            return TableFault(table.name, "destination_table_rights", detail, sql)
        if frozenset(table.key) not in found.unique:
            sql = f"ALTER TABLE {name} ADD PRIMARY KEY ({', '.join(map(quote, table.key))});"
            return TableFault(table.name, "destination_key_missing", "its primary key is missing", sql)
        lacking = self.lacking(table)
        if lacking and not found.is_owner:
            names = ", ".join(one.name for one in lacking)
            detail = f"it lacks {names}, which only its owner {found.owner} may add"
            sql = f"{add_sql(self.schema, table.name, lacking)};"
            return TableFault(table.name, "destination_not_owner", detail, sql)
        return None

    def _columns_fault(self, name: str, table: Table, found: Relation) -> TableFault | None:
        ours = {column.name: column for column in table.columns}
        for column in table.columns:
            if fault := self._column_fault(name, table, column, found):
                return fault
        for other in (other for other, there in found.columns.items() if other not in ours and there.is_required):
            sql = f"ALTER TABLE {name} ALTER COLUMN {quote(other)} DROP NOT NULL;"
            detail = f"the column {other}, which is not ours, requires a value"
            return TableFault(table.name, "destination_column", detail, sql)
        return None

    def _column_fault(self, name: str, table: Table, column: TableColumn, relation: Relation) -> TableFault | None:
        found = relation.columns.get(column.name)
        if found is None:
            return None
        is_same = _SAME_TYPE.get(found.type, found.type) == column.type
        if is_same and found.is_generated == column.is_generated:
            return None
        # Postgres changes no column that a view reads; the writer makes its views anew.
        views = "".join(f"DROP VIEW {quote(self.schema)}.{quote(view)};\n" for view in relation.views)
        if column.is_generated:
            wrong = f"{found.type} instead of {column.type}" if not is_same else "not derived from data"
            sql = f"ALTER TABLE {name} DROP COLUMN {quote(column.name)};"  # it is made again
        else:
            wrong = f"{found.type} instead of {column.type}"
            using = f"{quote(column.name)}::{column.type}"
            sql = f"ALTER TABLE {name} ALTER COLUMN {quote(column.name)} TYPE {column.type} USING {using};"
        return TableFault(table.name, "destination_column", f"its column {column.name} is {wrong}", views + sql)

    @staticmethod
    def _foreign(table: Table, found: Relation) -> str | None:
        """Return why a relation of that name can't be ours."""
        if found.kind in KINDS:
            return f"it is {KINDS[found.kind]}"
        lacking = [one.name for one in table.columns if one.rest_if_added is None and one.name not in found.columns]
        if lacking:
            return f"it lacks the column {lacking[0]}"
        # The typed columns hang on it, so its type can't be changed.
        data = found.columns.get("data")
        return f"its column data is {data.type}" if data and data.type != "jsonb" else None


def merge(survey: Survey, faults: Iterable[TableFault]) -> Fault | None:
    """Return the faults of the first one's kind as one, with all their tables and statements."""
    found = list(faults)
    if not found:
        return None
    same = [one for one in found if one.code == found[0].code]
    lead, fix = _WORDS[found[0].code]
    named = ", ".join(f"{one.table} ({one.detail})" for one in same[:NAMED])
    more = f" and {len(same) - NAMED} more" if len(same) > NAMED else ""
    lead = lead.format(schema=survey.schema, user=survey.user)
    statements = [one.sql for one in same if one.sql]
    return Fault(found[0].code, f"{lead}: {named}{more}.", fix, "\n".join(statements) or None)


_WORDS = {
    "destination_foreign_tables": (
        "The schema {schema} has tables that Tillstream did not make",
        "Choose another schema. If nothing needs these tables, give them other names:",
    ),
    "destination_column": (
        "Tables of the schema {schema} have columns with which they can't be written",
        "Let the owner of the tables run:",
    ),
    "destination_table_rights": (
        "{user} may not read and write all tables of the schema {schema}",
        "Let the owner of the tables, or an administrator, run:",
    ),
    "destination_key_missing": (
        "Tables of the schema {schema} can't be written",
        "Let the owner of the tables run:",
    ),
    "destination_not_owner": (
        "Tables of the schema {schema} are of an older release",
        "Let their owner run:",
    ),
    "destination_row_security": (
        "Row-level security keeps {user} from tables of the schema {schema}",
        "Let an administrator of the database run:",
    ),
}


def row_security_fault(survey: Survey, table: str) -> TableFault:
    """Return that row-level security refuses what we write."""
    name = f"{quote(survey.schema)}.{quote(table)}"
    sql = f"ALTER TABLE {name} NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY;"
    return TableFault(table, "destination_row_security", "no policy lets a row be written", sql)


async def look(db: Connection, schema: str, tables: Iterable[Table]) -> Survey:
    """Return what is in the schema under the names of `tables`. Changes nothing."""
    place = await db.fetchrow(_PLACE, schema)
    rows = await db.fetch(_RELATIONS, schema, [table.name for table in tables]) if place["has_schema"] else ()
    relations = (_relation(row) for row in rows)
    return Survey(
        schema,
        place["user"],
        place["database"],
        place["encoding"],
        place["statement_timeout"],
        "lz4" if place["has_lz4"] else None,
        place["has_schema"],
        {relation.name: relation for relation in relations},
    )


def _relation(row: Row) -> Relation:
    # As text: a connection may have a codec of its own for jsonb.
    indexes = [msgspec.json.decode(text) for text in row["indexes"]]
    columns = msgspec.json.decode(row["columns"] or "{}")
    return Relation(
        row["name"],
        row["kind"],
        row["owner"],
        row["is_owner"],
        row["has_row_security"],
        tuple(row["denied"]),
        tuple(frozenset(one["columns"] or ()) for one in indexes if one["is_unique"]),
        tuple(tuple(one["columns"] or ()) for one in indexes),
        {name: FoundColumn(*values) for name, values in columns.items()},
        tuple(row["views"]),
    )

"""What a BI tool needs to read a destination: where it lies, and a user of its own that can't write."""

from __future__ import annotations

from dataclasses import dataclass

from shared.destinations import PostgresAddress
from shared.postgres_tables import literal, quote

LONGEST_STEM = 56  # bytes; a name has 63


@dataclass(frozen=True, slots=True)
class BiTool:
    """Where a tool connects to, as whom, and the SQL that makes this user."""

    host: str
    port: int
    database: str
    schema: str
    user: str
    sql: str


def describe_tool(address: PostgresAddress, password: str) -> BiTool:
    """Take a destination's address and a password of letters and digits; return what connects a tool to it.

    The user reads the tables that are there, and those that the destination's own user makes later.
    """
    stem = address.schema.encode()[:LONGEST_STEM].decode(errors="ignore")
    user = f"{stem}_reader"
    role, schema = quote(user), quote(address.schema)
    sql = "\n".join(
        (
            f"CREATE ROLE {role} LOGIN PASSWORD {literal(password)};",
            f"GRANT CONNECT ON DATABASE {quote(address.database)} TO {role};",
            f"GRANT USAGE ON SCHEMA {schema} TO {role};",
            f"GRANT SELECT ON ALL TABLES IN SCHEMA {schema} TO {role};",
            f"ALTER DEFAULT PRIVILEGES FOR ROLE {quote(address.user)} IN SCHEMA {schema}",
            f"  GRANT SELECT ON TABLES TO {role};",
        )
    )
    return BiTool(address.host, address.port, address.database, address.schema, user, sql)

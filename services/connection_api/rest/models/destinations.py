"""Bodies and answers about destinations."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.connection_api.rest.models.base import PRINTABLE, Answer, Input
from shared.destinations import DEFAULT_SCHEMA, DeletedRows, Destination

DELETED_ROWS = (
    "What becomes of the row of an object that is deleted at Stripe: `marked` keeps it, with `_deleted`; `removed` "
    "takes it out, also those that are marked already."
)


class DestinationTest(Input):
    """A Postgres address that is to be tried."""

    url: SecretStr = Field(
        min_length=1, max_length=2000, description="`postgresql://user:password@host:5432/database?sslmode=require`"
    )
    schema_name: str = Field(
        default=DEFAULT_SCHEMA, alias="schema", min_length=1, max_length=63, description="Where the tables are made."
    )


class NewDestination(DestinationTest):
    """A Postgres database that rows shall go to."""

    name: str = Field(min_length=1, max_length=100, pattern=PRINTABLE, description="What people call it.")
    deleted_rows: DeletedRows = Field(default=DeletedRows.MARKED, description=DELETED_ROWS)


class DestinationChange(Input):
    """A new name, address or choice of a destination; what is left out stays."""

    name: str | None = Field(default=None, min_length=1, max_length=100, pattern=PRINTABLE)
    url: SecretStr | None = Field(
        default=None,
        min_length=1,
        max_length=2000,
        description="`postgresql://user:password@host:5432/database`: tried before it is kept. The schema stays.",
    )

    deleted_rows: DeletedRows | None = Field(default=None, description=DELETED_ROWS)

    @model_validator(mode="after")
    def _change_something(self) -> Self:
        if self.name is None and self.url is None and self.deleted_rows is None:
            raise ValueError("Give a name, a url or deleted_rows")
        return self


class DestinationAnswer(Answer):
    """A destination, without its password."""

    id: str
    name: str
    host: str
    port: int
    database: str
    user: str
    schema_name: str = Field(serialization_alias="schema")
    sslmode: str
    deleted_rows: DeletedRows = Field(description=DELETED_ROWS)
    created_at: datetime

    @classmethod
    def of(cls, destination: Destination) -> DestinationAnswer:
        """Return what may be shown of the destination."""
        address = destination.address
        return cls(
            id=destination.id,
            name=destination.name,
            host=address.host,
            port=address.port,
            database=address.database,
            user=address.user,
            schema_name=address.schema,
            sslmode=address.sslmode,
            deleted_rows=destination.deleted_rows,
            created_at=destination.created_at,
        )


class ProbeStepAnswer(Answer):
    """One thing that was tried at a destination."""

    name: str
    passed: bool
    message: str
    code: str | None
    fix: str | None
    sql: str | None = Field(description="Statements that an administrator of the database can run.")


class DestinationTestAnswer(Answer):
    """What was tried, in order, up to the first thing that failed."""

    passed: bool
    steps: tuple[ProbeStepAnswer, ...]

"""Bodies and answers about destinations."""

from __future__ import annotations

from datetime import datetime
from typing import Self

from pydantic import Field, SecretStr, model_validator

from services.connection_api.rest.models.base import PRINTABLE, Answer, Input
from services.connection_api.rest.models.delays import DelayAnswer
from services.connection_api.waiting import Waiting
from shared.certificates import LARGEST_CA
from shared.destinations import (
    DEFAULT_SCHEMA,
    DeletedRows,
    Destination,
    PostgresAddress,
    parse_postgres_url,
    with_ca,
)

DELETED_ROWS = (
    "What becomes of the row of an object that is deleted at Stripe: `marked` keeps it, with `_deleted`; `removed` "
    "takes it out, also those that are marked already."
)


BESIDE = "The password as it is, instead of percent-encoded in the address."
CA = "Certificates in PEM that the server's is checked with, instead of those that the system knows."
TAKE_OVER = (
    "Fill the schema although another destination or another installation has marked it. The other one writes nothing "
    "there any more."
)


class DestinationTest(Input):
    """A Postgres address that is to be tried."""

    url: SecretStr = Field(
        min_length=1,
        max_length=2000,
        description="`postgresql://user:password@host:5432/database?sslmode=verify-full`. `sslmode` is `require` "
        "unless it is given or the host is this machine; `sslrootcert` names a file on Tillstream's machine, or "
        "`system`. Other parameters are refused.",
    )
    password: SecretStr | None = Field(default=None, max_length=1000, description=BESIDE)
    ca: str | None = Field(default=None, max_length=LARGEST_CA, description=CA)
    schema_name: str = Field(
        default=DEFAULT_SCHEMA, alias="schema", min_length=1, max_length=63, description="Where the tables are made."
    )
    take_over: bool = Field(default=False, description=TAKE_OVER)

    @property
    def place(self) -> tuple[PostgresAddress, SecretStr]:
        """Address and password; raises `PayloadError` naming what is wrong."""
        return parse_postgres_url(
            self.url.get_secret_value(), schema=self.schema_name, password=self.password, ca=self.ca
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
    password: SecretStr | None = Field(
        default=None, max_length=1000, description=f"{BESIDE} Without `url`, another one for the same address."
    )
    ca: str | None = Field(default=None, max_length=LARGEST_CA, description=CA)
    deleted_rows: DeletedRows | None = Field(default=None, description=DELETED_ROWS)
    take_over: bool = Field(default=False, description=TAKE_OVER)

    @model_validator(mode="after")
    def _change_something(self) -> Self:
        chosen = self.model_fields_set - {"take_over"}
        if not self.take_over and all(getattr(self, name) is None for name in chosen):
            raise ValueError("Give a name, a url, a password, a ca, deleted_rows or take_over")
        return self

    @property
    def keeps_password(self) -> bool:
        """Whether the password that is kept is needed; one that can't be read is replaced by a new one."""
        return self.url is None and self.password is None and bool(self.ca)

    def place(self, known: PostgresAddress, password: SecretStr) -> tuple[PostgresAddress, SecretStr] | None:
        """Return another address and password, None where both stay; raise `PayloadError` naming what is wrong."""
        if self.url:
            return parse_postgres_url(
                self.url.get_secret_value(), schema=known.schema, password=self.password, ca=self.ca
            )
        if self.password is None and not self.ca:
            return None
        return with_ca(known, self.ca), self.password or password


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
    ca: str | None = Field(description="Certificates in PEM that the server's is checked with.")
    deleted_rows: DeletedRows = Field(description=DELETED_ROWS)
    created_at: datetime
    parked: int = Field(description="Records that wait for it; of more than 1,000 that many.")
    delays: tuple[DelayAnswer, ...] = Field(description="What is tried again there, and why.")

    @classmethod
    def of(cls, destination: Destination, waiting: Waiting) -> DestinationAnswer:
        """Return what may be shown of the destination, and what waits for it."""
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
            ca=address.ca,
            deleted_rows=destination.deleted_rows,
            created_at=destination.created_at,
            parked=waiting.parked,
            delays=tuple(DelayAnswer.model_validate(one) for one in waiting.delays),
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

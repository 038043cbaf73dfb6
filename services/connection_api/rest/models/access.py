"""Bodies and answers about sign-in, tokens and the audit log."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field

from services.connection_api.rest.models.base import PRINTABLE, Answer, Input, Moment, PageQuery

Scope = Literal["read", "manage", "admin"]
Hex = Annotated[str, BeforeValidator(lambda value: value.hex() if isinstance(value, bytes) else value)]


class SignInLinkAnswer(Answer):
    """A link that signs a browser in, once."""

    url: str
    expires_at: datetime


class SessionAnswer(Answer):
    """A browser that is signed in."""

    id: str
    person: str = Field(description="The name that was given at sign-in; empty if none was.")
    address: str = Field(description="Where the browser signed in from.")
    opened_at: datetime
    used_at: datetime = Field(description="To the minute.")
    expires_at: datetime


class NewToken(Input):
    """A token that is to be made."""

    name: str = Field(min_length=1, max_length=100, pattern=PRINTABLE, description="What it is for.")
    scope: Scope = Field(description="`read` reads, `manage` also changes, `admin` also makes tokens.")
    expires_at: Moment | None = Field(default=None, description="Never, if not given.")


class TokenAnswer(Answer):
    """A token, without its secret."""

    id: str
    name: str
    scope: Scope
    created_at: datetime
    last_used_at: datetime | None = Field(description="To the minute.")
    expires_at: datetime | None
    revoked_at: datetime | None


class NewTokenAnswer(TokenAnswer):
    """A token that was made."""

    token: str = Field(description="The secret. It is shown only here.")


class AuditQuery(PageQuery):
    """Which entries are wanted."""

    subject: str | None = Field(
        default=None,
        min_length=1,
        max_length=100,
        pattern=PRINTABLE,
        description="The id of what something was done to.",
    )


class AuditEntryAnswer(Answer):
    """One thing that somebody did."""

    id: int
    at: datetime
    actor: str = Field(
        description="`token tok_…`, `first token`, `session ses_…`, `stranger`, or the service that acted by itself."
    )
    person: str = Field(description="The name that was given when the session was opened; empty if none was.")
    address: str = Field(description="Where the request came from; empty where a service acted by itself.")
    action: str
    subject: str = Field(description="The id of what it was done to.")
    details: Mapping[str, Any] = Field(description="Ids, counts and hashes.")
    request_id: str
    previous_hash: Hex
    hash: Hex = Field(description="SHA-256 of the entry and of the hash before it.")


class VerificationAnswer(Answer):
    """Whether the audit log is as it was written."""

    entries: int = Field(description="How many entries hold, from the first on.")
    broken_at: int | None = Field(
        description="The first entry that was changed or is gone, or that follows one that is gone."
    )
    sealed_to: int | None = Field(
        description="The last entry that is bound by a seal, which only the holder of the encryption key can make."
    )

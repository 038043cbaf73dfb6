"""What every body, query and answer of the REST API shares: bounded lengths, no unknown fields, pages."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

PAGE_SIZE = 25
LARGEST_PAGE = 100
LONGEST_CURSOR = 7000  # letters; one can hold an account's name, and an address has at most 8190
LONGEST_STRIPE_ID = 255
PRINTABLE = r"^[^\x00-\x1f\x7f]+$"

Id = Annotated[str, Field(pattern=r"^[a-z]{2,8}_[a-z0-9]{1,64}$")]
ResourceName = Annotated[str, Field(pattern=r"^[a-z0-9_.]{1,100}$")]


def check_stripe_id(text: str) -> str:
    """Return an id of Stripe's; raise `ValueError` for what can't be one.

    Merchants choose the ids of coupons, plans and products, with blanks and signs of all kinds.
    """
    if not re.fullmatch(PRINTABLE, text) or len(text) > LONGEST_STRIPE_ID:
        raise ValueError(f"An id has 1 to {LONGEST_STRIPE_ID} characters, none of which is a control character")
    if text in (".", ".."):
        raise ValueError(f"`{text}` can't be asked for: in an address of Stripe's it stands for another place")
    return text


StripeId = Annotated[str, Field(min_length=1, max_length=LONGEST_STRIPE_ID), AfterValidator(check_stripe_id)]


def _text_only(value: Any) -> Any:
    if not isinstance(value, str):
        raise ValueError("Give the time as text, such as 2025-01-31 or 2025-01-31T12:00:00Z")
    return value


def _in_utc(at: datetime) -> datetime:
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("This date is too far away") from error


# A day means its beginning in UTC; a time without a zone is UTC.
Moment = Annotated[
    datetime,
    BeforeValidator(_text_only),
    AfterValidator(_in_utc),
    WithJsonSchema({"anyOf": [{"type": "string", "format": form} for form in ("date-time", "date")]}),
]
StartDate = Moment


class Input(BaseModel):
    """What a caller sends."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Answer(BaseModel):
    """What a caller gets."""

    model_config = ConfigDict(from_attributes=True, frozen=True)


class PageQuery(Input):
    """Which part of a list is wanted."""

    limit: int = Field(default=PAGE_SIZE, ge=1, le=LARGEST_PAGE)
    cursor: str | None = Field(
        default=None,
        max_length=LONGEST_CURSOR,
        pattern=r"^[A-Za-z0-9_\-]+$",
        description="`next_cursor` of the page before.",
    )


class CountsAnswer(Answer):
    """What became of records, added over all destinations."""

    inserted: int
    updated: int
    unchanged: int
    deleted: int
    ignored: int
    failed: int


T = TypeVar("T", bound=Answer)


class Page(Answer, Generic[T]):
    """A part of a list; `next_cursor` is null on the last one."""

    data: tuple[T, ...]
    next_cursor: str | None


class Problem(Answer):
    """Why a request was refused (RFC 9457)."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    request_id: str
    field: str | None = None

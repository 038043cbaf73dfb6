"""Commands about the tokens with which programs speak to the API."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer
from rich.text import Text

from services.console import completion
from services.console.client import ApiClient, path_of
from services.console.consent import consent
from services.console.listing import Column, Listing
from services.console.options import AsJson, Yes
from services.console.screen import ERRORS, OUT, show_done, show_json, with_tone
from services.console.task import WrongUseError, with_api
from services.console.times import ago, minute
from shared.http import Access

cli = typer.Typer(no_args_is_help=True, help="Tokens with which programs speak to the API.")


class Scope(StrEnum):
    """What a token may do, each more than the one before."""

    READ = Access.READ
    MANAGE = Access.MANAGE
    ADMIN = Access.ADMIN


@cli.command()
def create(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    scope: Annotated[
        Scope, typer.Option(help="read reads, manage also changes, admin also makes tokens.", case_sensitive=False)
    ] = Scope.READ,
    expires: Annotated[
        str | None, typer.Option(help="When it ends, such as 2027-01-31 (00:00 UTC); never, if left out.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a token; its secret is printed now and never again."""

    async def make(api: ApiClient) -> None:
        body = {"name": name, "scope": scope, **({"expires_at": _read_expiry(expires)} if expires else {})}
        made = await api.post("/v1/tokens", body)
        if as_json:
            show_json(made)
            return
        OUT.print(made["token"], markup=False, soft_wrap=True)
        ERRORS.print(f"This is {made['id']}, scope {made['scope']}. Keep it well: it is not shown again.", markup=False)

    with_api(make, as_json=as_json)


def _read_expiry(text: str) -> str:
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise WrongUseError(
            f"--expires “{text}” can't be read: give a date such as 2027-01-31.", field="expires"
        ) from None
    return (at.replace(tzinfo=UTC) if at.tzinfo is None else at).isoformat()


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show all tokens, without their secrets; revoked and expired ones too."""

    async def show(api: ApiClient) -> None:
        rows = (await api.list("/v1/tokens")).data
        if as_json:
            show_json(rows)
        elif rows:
            OUT.print(tokens_table(rows, datetime.now(UTC)))
        else:
            OUT.print("There is no token but the first one. Make one with `tillstream tokens create`.")

    with_api(show, as_json=as_json)


def tokens_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per token."""
    name, made = Column("name", may_fold=True), Column("made", is_extra=True)
    listing = Listing("id", name, "scope", "status", "last used", made, "ends")
    for row in rows:
        used = ago(row["last_used_at"], now)
        ends = minute(row["expires_at"]) or "never"
        listing.add(row["id"], row["name"], row["scope"], _status(row, now), used, minute(row["created_at"]), ends)
    return listing


def _status(row: dict[str, Any], now: datetime) -> Text:
    if row["revoked_at"]:
        return with_tone("quiet", "revoked")
    if row["expires_at"] and datetime.fromisoformat(row["expires_at"]) <= now:
        return with_tone("quiet", "expired")
    return with_tone("good", "valid")


@cli.command()
def revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id.", autocompletion=completion.tokens)],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Revoke a token at once, for good."""

    async def end(api: ApiClient) -> None:
        consent(f"Revoke {token_id}? Programs that use it are refused from then on.", yes=yes)
        await api.delete(path_of("/v1/tokens", token_id))
        if as_json:
            show_json({"id": token_id, "revoked": True})
        else:
            show_done(f"Revoked {token_id}.")

    with_api(end, as_json=as_json)

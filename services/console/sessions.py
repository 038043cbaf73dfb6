"""Commands about the browsers that are signed in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from services.console.client import ApiClient, path_of
from services.console.consent import consent
from services.console.listing import Column, Listing
from services.console.options import AsJson, Yes
from services.console.screen import OUT, show_done, show_json
from services.console.task import with_api
from services.console.times import ago, minute

cli = typer.Typer(no_args_is_help=True, help="Browsers that are signed in to the dashboard.")


@cli.command("list")
def list_all(as_json: AsJson = False) -> None:
    """Show who is signed in, from where and until when."""

    async def show(api: ApiClient) -> None:
        rows = (await api.list("/v1/sessions")).data
        if as_json:
            show_json(rows)
        elif rows:
            OUT.print(sessions_table(rows, datetime.now(UTC)))
        else:
            OUT.print("Nobody is signed in. Make a link with `tillstream sign-in`.")

    with_api(show, as_json=as_json)


def sessions_table(rows: list[dict[str, Any]], now: datetime) -> Listing:
    """Return a row per session."""
    listing = Listing(
        "id", Column("person", may_fold=True), "from", Column("signed in", is_extra=True), "last used", "ends"
    )
    for row in rows:
        times = (minute(row["opened_at"]), ago(row["used_at"], now), minute(row["expires_at"]))
        listing.add(row["id"], row["person"] or "–", row["address"] or "–", *times)
    return listing


@cli.command()
def end(
    session_id: Annotated[str, typer.Argument(help="The session's id.")],
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Sign a browser out at once; its open pages stop."""

    async def close(api: ApiClient) -> None:
        consent(f"Sign {session_id} out?", yes=yes)
        await api.delete(path_of("/v1/sessions", session_id))
        if as_json:
            show_json({"id": session_id, "ended": True})
        else:
            show_done(f"Signed {session_id} out.")

    with_api(close, as_json=as_json)

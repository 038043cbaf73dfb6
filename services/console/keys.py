"""Commands about keys: those of Stripe accounts, and those that encrypt what is stored."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from services.console import completion
from services.console.client import ApiClient
from services.console.connections import KEY_PROMPT
from services.console.consent import read_secret
from services.console.options import AsJson, ConnectionName
from services.console.picking import mode_of, pick_connection
from services.console.screen import OUT, plain, show_done, show_json, with_tone
from services.console.task import FAILED, with_api
from shared.crypto import make_encryption_key

cli = typer.Typer(no_args_is_help=True, help="Restricted Stripe keys, and the keys that encrypt secrets.")
# What a grant looks like: a tone and words.
GRANTED = ("passed", "")
UNAVAILABLE = ("quiet", "not available on this account")
MISSING = {True: ("bad", "missing, required"), False: ("warning", "missing, optional")}


@cli.command("generate")
def generate_key(key_id: Annotated[str, typer.Argument(help="A name of your choice.")] = "k1") -> None:
    """Print a new entry for TILLSTREAM_ENCRYPTION_KEYS."""
    sys.stdout.write(make_encryption_key(key_id) + "\n")


@cli.command("check")
def check(
    connection: Annotated[
        str | None,
        typer.Option(
            help="Check it as a new key of this connection: account and mode have to match.",
            autocompletion=completion.connections,
        ),
    ] = None,
    resource: Annotated[
        list[str] | None,
        typer.Option(help="Check it for this resource, instead of the usual ones; may be given more than once."),
    ] = None,
    account_id: Annotated[
        str | None, typer.Option(help="Needed only where Stripe does not tell the key which account it belongs to.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what a restricted key may do; exit with 1 if something required is missing. The key is not kept."""

    async def ask_stripe(api: ApiClient) -> int:
        body = {
            **({"connection_id": (await pick_connection(api, connection))["id"]} if connection else {}),
            **({"resources": resource} if resource else {}),
            **({"account_id": account_id} if account_id else {}),
            "api_key": read_secret(KEY_PROMPT, what="key"),
        }
        answer = await api.post("/v1/key-checks", body)
        if as_json:
            show_json(answer)
        else:
            OUT.print(key_check_view(answer))
        return 0 if answer["passed"] else FAILED

    with_api(ask_stripe, as_json=as_json)


def key_check_view(answer: dict[str, Any]) -> RenderableType:
    """Return the verdict, then a line per permission under its group."""
    name = Text.assemble((plain(answer["account_name"]), "bold"))
    name.append(f"  {answer['account_id']}  {mode_of(answer)}  {answer['key_hint']}")
    verdict = with_tone("passed" if answer["passed"] else "bad", answer["sentence"])
    return Group(name, verdict, *(part for group in answer["groups"] for part in _group(group)))


def _group(group: dict[str, Any]) -> list[RenderableType]:
    passed = ("passed", "green") if group["passed"] else ("not passed", "red")
    heading = Text.assemble("\n", (f"{group['title']}  ", "bold"), (f"{group['access']}  ", "dim"), passed)
    return [heading, *(Padding(_permission(one), (0, 0, 0, 2)) for one in group["permissions"])]


def _permission(permission: dict[str, Any]) -> Text:
    tones = {
        "granted": GRANTED,
        "unavailable": UNAVAILABLE,
        "refused": ("warning", f"Stripe refuses it, and says: {permission.get('words')}"),
        "missing": MISSING[permission["required"]],
    }
    tone, words = tones[permission["grant"]]
    told = f": {words}" if words else ""
    return with_tone(tone, f"{permission['toggle']} ({permission['slug']}){told}")


def update_key(connection: ConnectionName, as_json: AsJson = False) -> None:
    """Replace a connection's restricted key once the new one has passed its check; it is read as `add` reads it."""

    async def replace(api: ApiClient) -> None:
        found = await pick_connection(api, connection)
        key = read_secret(KEY_PROMPT, what="key")
        changed = await api.post(f"/v1/connections/{found['id']}/key", {"api_key": key})
        if as_json:
            show_json(changed)
        else:
            show_done(
                f"{changed['name']} has the new key {changed['key_hint']}; "
                "syncing goes on where it stopped, and what was missed is fetched."
            )

    with_api(replace, as_json=as_json)

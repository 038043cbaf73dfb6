"""`serve` runs a simulator; the other commands talk to a running one through its control API."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from simulator.client import ControlClient, ControlClientError
from simulator.config import Config, Faults
from simulator.serving import serve as run_server

cli = typer.Typer(no_args_is_help=True, help="A Stripe that runs on this machine.")
keys = typer.Typer(no_args_is_help=True, help="API keys and their permissions.")
faults = typer.Typer(no_args_is_help=True, help="What goes wrong on purpose.")
cli.add_typer(keys, name="keys")
cli.add_typer(faults, name="faults")

Url = Annotated[str, typer.Option("--url", envvar="TILLSTREAM_SIMULATOR_URL", help="Where the simulator listens.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Secret = Annotated[str, typer.Argument(help="The key itself.")]
Permissions = Annotated[list[str] | None, typer.Argument(help="Such as rak_charge_read.")]

_URL = "http://127.0.0.1:12111"


@cli.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(help="0 picks a free one.")] = 12111,
    seed: int = 7,
    objects: Annotated[int, typer.Option(min=1, help="How many objects the account's history makes.")] = 20_000,
    history_days: Annotated[int, typer.Option(min=1)] = 730,
    rate: Annotated[float, typer.Option(min=0, help="Changes a second from the start.")] = 0.0,
    live: Annotated[bool, typer.Option("--live", help="Be a live account instead of a test one.")] = False,
    latency_ms: Annotated[float, typer.Option(min=0, help="Before every answer.")] = 0.0,
    rate_limits: Annotated[bool, typer.Option(help="Refuse requests above Stripe's limits.")] = True,
    account_limit: Annotated[float | None, typer.Option(help="Requests a second; Stripe's own if not given.")] = None,
    endpoint_limit: Annotated[float, typer.Option(help="Requests a second for each endpoint.")] = 25.0,
    clock_skew: Annotated[float, typer.Option(help="Seconds that Stripe's clock is ahead.")] = 0.0,
    account_version: Annotated[str, typer.Option(help="The API version of the account.")] = "2024-06-20",
    deliveries_at_once: Annotated[int, typer.Option(min=1, help="Webhooks under way.")] = 64,
    url_file: Annotated[Path | None, typer.Option(help="Where to write the address, as JSON.")] = None,
) -> None:
    """Run a simulator until it is stopped; its address and key are printed as one line of JSON."""
    config = Config(
        seed=seed,
        objects=objects,
        history_days=history_days,
        changes_per_second=rate,
        livemode=live,
        rate_limits=rate_limits,
        per_account_limit=account_limit,
        per_endpoint_limit=endpoint_limit,
        clock_skew_seconds=clock_skew,
        account_version=account_version,
        deliveries_at_once=deliveries_at_once,
        faults=Faults(latency_before_ms=latency_ms),
    )
    try:
        asyncio.run(run_server(config, host=host, port=port, url_file=url_file, announce=typer.echo))
    except OSError as error:
        typer.echo(f"Port {port} can't be opened ({error.strerror}). Give another one, or --port 0.", err=True)
        raise typer.Exit(1) from error


@cli.command()
def state(url: Url = _URL, as_json: AsJson = False) -> None:
    """Show the account, the rate of change and the webhook endpoints."""
    _show(lambda client: client.get("state"), url, as_json)


@cli.command()
def rate(changes_per_second: float, url: Url = _URL, as_json: AsJson = False) -> None:
    """Set how many changes a second the business makes; 0 pauses it."""
    _show(lambda client: client.post("business", {"changes_per_second": changes_per_second}), url, as_json)


@cli.command()
def scenario(name: str, times: int = 1, url: Url = _URL, as_json: AsJson = False) -> None:
    """Let one thing happen now, such as `renewal` or `refund`; `state` lists them."""
    _show(lambda client: client.post(f"scenarios/{name}", times=times), url, as_json)


@cli.command()
def truth(
    resource: Annotated[str | None, typer.Argument(help="Such as `charge`; without it, counts are shown.")] = None,
    url: Url = _URL,
    as_json: AsJson = False,
) -> None:
    """Print the current state of every object of a resource, one JSON line each, or count them."""
    if resource is None:
        return _show(lambda client: client.get("truth"), url, as_json)
    with _explained(url) as client:
        for row in client.iter_truth(resource):
            typer.echo(json.dumps(row))
    return None


@keys.command("list")
def list_keys(url: Url = _URL, as_json: AsJson = False) -> None:
    """Show all keys, masked unless as JSON."""
    _show(lambda client: client.get("keys"), url, as_json)


@keys.command("create")
def create_key(permissions: Permissions = None, url: Url = _URL, as_json: AsJson = False) -> None:
    """Create a restricted key with these permissions, or with all of them."""
    body = {"permissions": permissions} if permissions else {}
    _show(lambda client: client.post("keys", body), url, as_json, mask=False)


@keys.command("grant")
def grant(secret: Secret, permissions: list[str], url: Url = _URL, as_json: AsJson = False) -> None:
    """Give a key more permissions."""
    _show(lambda client: client.post(f"keys/{secret}/grant", {"permissions": permissions}), url, as_json)


@keys.command("revoke")
def revoke(secret: Secret, permissions: list[str], url: Url = _URL, as_json: AsJson = False) -> None:
    """Take permissions from a key."""
    _show(lambda client: client.post(f"keys/{secret}/revoke", {"permissions": permissions}), url, as_json)


@keys.command("rotate")
def rotate(secret: Secret, url: Url = _URL, as_json: AsJson = False) -> None:
    """Expire a key and create another one that may do the same."""
    _show(lambda client: client.post(f"keys/{secret}/rotate"), url, as_json, mask=False)


@keys.command("expire")
def expire(secret: Secret, url: Url = _URL, as_json: AsJson = False) -> None:
    """Let a key stop working."""
    _show(lambda client: client.post(f"keys/{secret}/expire"), url, as_json)


@faults.command("set")
def set_faults(
    settings: Annotated[list[str], typer.Argument(help="Such as webhook_loss=0.1 http_500=0.05.")],
    url: Url = _URL,
    as_json: AsJson = False,
) -> None:
    """Let things go wrong; `faults set` leaves what it does not name."""
    body = {}
    for setting in settings:
        name, _, value = setting.partition("=")
        try:
            body[name] = json.loads(value)
        except ValueError:
            typer.echo(f"{setting} is no setting: write {name or 'name'}=0.1.", err=True)
            raise typer.Exit(2) from None
    _show(lambda client: client.post("faults", body), url, as_json)


@faults.command("clear")
def clear_faults(url: Url = _URL, as_json: AsJson = False) -> None:
    """Let nothing go wrong."""
    _show(lambda client: client.delete("faults"), url, as_json)


@contextmanager
def _explained(url: str) -> Iterator[ControlClient]:
    try:
        yield ControlClient(url)
    except ControlClientError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _show(ask: Callable[[ControlClient], Any], url: str, as_json: bool, *, mask: bool = True) -> None:
    with _explained(url) as client:
        answer = ask(client)
    if as_json:
        typer.echo(json.dumps(answer))
        return
    for name, value in _lines(answer):
        typer.echo(f"{name}: {_masked(name, value) if mask else value}")


def _lines(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _lines(inner, f"{name}.{key}" if name else key)
    elif isinstance(value, list) and value and isinstance(value[0], dict):
        for number, inner in enumerate(value):
            yield from _lines(inner, f"{name}[{number}]")
    else:
        yield name, ", ".join(map(str, value)) if isinstance(value, list) else value


def _masked(name: str, value: Any) -> Any:
    is_secret = name.rpartition(".")[2] in ("secret", "api_key")
    return f"{value[:8]}…{value[-4:]}" if is_secret and isinstance(value, str) else value

"""The command line's commands; each does its work in a module of its own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from local_stack.doctor import Outcome, examine
from local_stack.state import read_state
from services.console import connections, destinations, events, psql, syncs
from services.console.check import Report, check
from services.console.client import ApiClient, connected, find_api
from services.console.demo import EXAMPLE_QUERY, DemoOptions, demo_running, newest_sync
from services.console.running import home_folder, running
from services.console.screen import ERRORS, OUT, StartUp, account_view, differences, report_table, show_facts
from services.console.task import FAILED, main_task
from shared.crypto import make_encryption_key
from shared.db import migrate as migrate_database
from shared.errors import ConfigError, TransientError
from shared.settings import PREFIX
from simulator.cli import cli as simulator_cli

cli = typer.Typer(
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Keeps a Stripe account's data in the places where people work.",
    epilog="Exit codes: 0 done, 1 failed, 2 wrong setting or argument, 130 interrupted.",
)
cli.add_typer(simulator_cli, name="simulator")
simulator_cli.callback()(connections.use_running_simulator)
cli.add_typer(connections.cli, name="connections")
cli.add_typer(destinations.cli, name="destinations")
cli.add_typer(syncs.cli, name="syncs")
cli.command("listen")(events.listen)
cli.command("psql", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql.open_psql)
WITH_PASSWORDS = ("database_url", "destination_url")
keys = typer.Typer(no_args_is_help=True, help="The keys that encrypt secrets.")
cli.add_typer(keys, name="keys")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


@cli.command()
def demo(
    is_check: Annotated[bool, typer.Option("--check", help="Run without a person and judge every row.")] = False,
    objects: Annotated[int, typer.Option(min=100, max=1_000_000, help="Objects in the account's history.")] = 22_000,
    seed: Annotated[int, typer.Option(help="Which business is simulated.")] = 7,
    changes: Annotated[
        float | None, typer.Option(min=0, max=500, help="Changes a second: 5, or 50 with --check.")
    ] = None,
) -> None:
    """See a simulated Stripe account arrive in Postgres, historical and live."""
    rate = changes if changes is not None else (50.0 if is_check else 5.0)
    main_task(_demo(DemoOptions(objects, seed, rate), is_check=is_check))


async def _demo(options: DemoOptions, *, is_check: bool) -> int:
    OUT.print("[bold]Tillstream demo[/] [dim]a simulated Stripe account, kept in Postgres[/]\n")
    with StartUp(OUT) as start:
        async with demo_running(home_folder(os.environ, "demo"), os.environ, options, start.watchers) as running_demo:
            start.done("All parts run and the account is connected")
            if is_check:
                report = await check(running_demo, changes_per_second=options.changes_per_second, say=OUT.print)
                return _show_report(report)
            link = await _sign_in_link(running_demo.api)
            show_facts(
                ("Dashboard", link),
                ("Rows", f'.venv/bin/tillstream psql -c "{EXAMPLE_QUERY}"'),
                ("Events", ".venv/bin/tillstream listen"),
                ("Make a change", ".venv/bin/tillstream simulator scenario refund"),
                ("Logs", str(running_demo.running.home / "logs")),
                ("Stop", "Ctrl-C"),
            )
            await _follow(running_demo.api, running_demo.connection_id)
    return 0


def _show_report(report: Report) -> int:
    OUT.print()
    OUT.print(report_table(report))
    for line in differences(report):
        ERRORS.print(f"[red]{line}[/]")
    rate = report.backfill_objects / max(report.backfill_seconds, 0.001)
    OUT.print()
    OUT.print(
        f"Backfill: {report.backfill_objects:,} objects in {report.backfill_seconds:.1f} s ({rate:,.0f}/s), "
        f"{report.stripe_calls} calls, {report.rate_limited} of them refused for their rate."
    )
    if report.overall:
        OUT.print(
            f"Live: {report.changes:,} events; change → row p50 {report.overall.p50:.0f} ms, "
            f"p99 {report.overall.p99:.0f} ms over {report.overall.events:,} webhooks."
        )
    if report.is_equal:
        OUT.print("[green]✓[/] Every row of every table equals Stripe: 0 missing, 0 extra, 0 different.")
        return 0
    ERRORS.print(f"[red]✗[/] The destination does not equal Stripe ({report.dead_letters} dead letters).")
    return FAILED


async def _follow(api: ApiClient, connection_id: str) -> None:
    """Show the backfill, then the events as they reach their rows, until Ctrl-C."""
    with Live(console=OUT, refresh_per_second=4, vertical_overflow="visible") as live:
        while True:
            try:
                connection = await api.get(f"/v1/connections/{connection_id}")
                sync = await newest_sync(api, connection_id, "backfill")
                events = (await api.get("/v1/events", connection_id=connection_id, limit=12))["data"]
                live.update(account_view(connection, sync, events))
            except TransientError:
                live.update(Text("A part of Tillstream is being restarted …", style="yellow"))
            await asyncio.sleep(0.5)


async def _sign_in_link(api: ApiClient) -> str:
    return str((await api.post("/v1/sign-in-links"))["url"])


@cli.command()
def run() -> None:
    """Run everything on this machine, for a real Stripe account."""
    main_task(_run())


async def _run() -> int:
    public_url = os.environ.get(PREFIX + "PUBLIC_URL", "")
    settings = {"public_url": public_url} if public_url else {}
    with StartUp(OUT) as start:
        home = home_folder(os.environ, "run")
        async with running(home, os.environ, watchers=start.watchers, settings=settings) as stack:
            start.done("All parts run")
            async with connected(stack.api_url, stack.api_token) as api:
                link = await _sign_in_link(api)
            live = (
                f"Stripe delivers webhooks to {public_url} → {stack.gateway_url}"
                if public_url
                else "no public URL: Stripe's events are polled every 2 s while things happen, every 60 s when quiet"
            )
            connect = "tillstream destinations add …, then tillstream connections add"
            show_facts(
                ("Dashboard", link),
                ("API", stack.api_url),
                ("Live", live),
                ("Connect", connect),
                ("Stop", "Ctrl-C"),
            )
            await asyncio.get_running_loop().create_future()
    return 0


@cli.command("sign-in")
def sign_in() -> None:
    """Print a link that signs a browser in, once."""

    async def show() -> int:
        async with connected(*find_api(os.environ, connections.homes(os.environ))) as api:
            OUT.print(await _sign_in_link(api), soft_wrap=True)
        return 0

    main_task(show())


@cli.command()
def status(as_json: AsJson = False) -> None:
    """Show what runs on this machine, and where."""
    state = next((found for home in connections.homes(os.environ) if (found := read_state(home))), None)
    if state is None:
        ERRORS.print("Tillstream does not run here. Start it with `make run` or `make demo`.")
        raise typer.Exit(FAILED)
    addresses = {name: url for name, url in state.addresses.items() if name not in WITH_PASSWORDS}
    if as_json:
        children = [{"name": c.name, "pid": c.pid, "restarts": c.restarts, "log": c.log} for c in state.children]
        typer.echo(json.dumps({"pid": state.pid, "addresses": addresses, "processes": children}))
        return
    rows = [(c.name, f"process {c.pid or '—'}, {c.restarts} restarts, {c.log}") for c in state.children]
    show_facts(*addresses.items(), *rows)


@cli.command()
def doctor(as_json: AsJson = False) -> None:
    """Check whether this machine can run Tillstream."""

    async def show() -> int:
        checks = await examine(
            home_folder(os.environ, "run"),
            os.environ,
            database_url=os.environ.get(PREFIX + "DATABASE_URL"),
            kafka_bootstrap_servers=os.environ.get(PREFIX + "KAFKA_BOOTSTRAP_SERVERS"),
        )
        if as_json:
            typer.echo(
                json.dumps(
                    [{"name": c.name, "outcome": c.outcome, "sentence": c.sentence, "fix": c.fix} for c in checks]
                )
            )
        else:
            signs = {Outcome.OK: "[green]✓[/]", Outcome.WARN: "[yellow]![/]", Outcome.FAIL: "[red]✗[/]"}
            for one in checks:
                OUT.print(f"{signs[one.outcome]} [bold]{one.name}[/] {one.sentence} {one.fix}".rstrip())
        return FAILED if any(one.outcome is Outcome.FAIL for one in checks) else 0

    main_task(show())


@cli.command()
def migrate() -> None:
    """Bring the database's schema up to date; run it before a new release."""
    url = os.environ.get(PREFIX + "DATABASE_URL")
    if not url:
        raise ConfigError(f"{PREFIX}DATABASE_URL is not set: it names the Postgres that holds Tillstream's state.")

    async def apply() -> int:
        for name in await migrate_database(url) or ["Nothing to do: the schema is up to date."]:
            OUT.print(name)
        return 0

    main_task(apply())


@keys.command("generate")
def generate_key(key_id: Annotated[str, typer.Argument(help="A name of your choice.")] = "k1") -> None:
    """Print a new entry for TILLSTREAM_ENCRYPTION_KEYS."""
    sys.stdout.write(make_encryption_key(key_id) + "\n")

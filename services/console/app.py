"""The command line's commands; each does its work in a module of its own."""

from __future__ import annotations

import asyncio
import os
from typing import Annotated

import typer
from rich.live import Live
from rich.text import Text

from local_stack.doctor import Outcome, examine
from local_stack.state import read_state
from services.console import (
    alarms,
    asking,
    audit,
    choices,
    comparing,
    connections,
    data,
    dead_letters,
    destinations,
    events,
    keys,
    psql,
    removals,
    resources,
    sessions,
    start_dates,
    state,
    syncs,
    tokens,
    verify_schedules,
)
from services.console.check import Report, check
from services.console.client import ApiClient, connected
from services.console.demo import EXAMPLE_QUERY, DemoOptions, demo_running
from services.console.options import AsJson
from services.console.parsing import Commands
from services.console.report import account_now, differences, report_table
from services.console.running import home_folder, homes, running
from services.console.screen import ERRORS, OUT, show_facts, show_json
from services.console.start_up import StartUp
from services.console.task import FAILED, main_task, with_api
from shared.db import migrate as migrate_database
from shared.errors import ConfigError, TransientError
from shared.settings import PREFIX
from shared.version import VERSION
from simulator.cli import cli as simulator_cli

SYNCED, ACCESS, HERE = "What is synced", "Who may do what", "On this machine"  # groups of commands in the help text
EXIT_CODES = "Exit codes: 0 done, 1 failed or refused, 2 wrong use (a setting or an argument), 130 interrupted."
cli = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    help="Keeps a Stripe account's data in the places where people work.",
    epilog=EXIT_CODES,
)
connections.cli.command("update-key")(keys.update_key)
connections.cli.command("set-start-date")(start_dates.set_start_date)
connections.cli.command("verify-schedule")(verify_schedules.verify_schedule)
connections.cli.command("choose")(choices.choose)
connections.cli.command("remove")(removals.remove)
connections.cli.command("removals")(removals.removals)
connections.cli.command("give-up-rows")(removals.give_up_rows)
cli.add_typer(connections.cli, name="connections", rich_help_panel=SYNCED)
cli.add_typer(keys.cli, name="keys", rich_help_panel=SYNCED)
cli.add_typer(syncs.cli, name="syncs", rich_help_panel=SYNCED)
cli.add_typer(destinations.cli, name="destinations", rich_help_panel=SYNCED)
cli.add_typer(data.cli, name="data", rich_help_panel=SYNCED)
cli.add_typer(events.cli, name="events", rich_help_panel=SYNCED)
cli.add_typer(dead_letters.cli, name="dead-letters", rich_help_panel=SYNCED)
cli.add_typer(resources.cli, name="resources", rich_help_panel=SYNCED)
cli.add_typer(alarms.cli, name="alarms", rich_help_panel=SYNCED)
cli.add_typer(tokens.cli, name="tokens", rich_help_panel=ACCESS)
cli.add_typer(sessions.cli, name="sessions", rich_help_panel=ACCESS)
cli.add_typer(audit.cli, name="audit", rich_help_panel=ACCESS)
cli.command("status", rich_help_panel=SYNCED)(state.status)
cli.command("verify", rich_help_panel=SYNCED)(comparing.verify)
cli.command("ask", rich_help_panel=SYNCED)(asking.ask)
cli.command("listen", rich_help_panel=SYNCED)(events.listen)
WITH_PASSWORDS = ("database_url", "destination_url")


def _tell_version(is_asked: bool) -> None:
    if is_asked:
        OUT.print(VERSION)
        raise typer.Exit


@cli.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", callback=_tell_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Keeps a Stripe account's data in the places where people work."""


@cli.command("sign-in", rich_help_panel=ACCESS)
def sign_in(as_json: AsJson = False) -> None:
    """Print a link that signs a browser in, once."""

    async def show(api: ApiClient) -> None:
        answer = await api.post("/v1/sign-in-links")
        if as_json:
            show_json(answer)
        else:
            OUT.print(answer["url"], markup=False, soft_wrap=True)

    with_api(show, as_json=as_json)


@simulator_cli.callback()
def use_running_simulator() -> None:
    """Control the Stripe that runs on this machine, by default that of the demo."""
    urls = (stack.addresses.get("simulator_url") for home in homes(os.environ) if (stack := read_state(home)))
    url = next((found for found in urls if found), None)
    if url:
        os.environ.setdefault("TILLSTREAM_SIMULATOR_URL", url)


@cli.command(rich_help_panel=HERE)
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
                ("Make a key", ".venv/bin/tillstream simulator keys create"),
                ("Logs", str(running_demo.running.home / "logs")),
                ("Stop", "Ctrl-C"),
            )
            await _follow(running_demo.api)
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


async def _follow(api: ApiClient) -> None:
    """Show the backfill, then the events as they reach their rows, until Ctrl-C; a connection may go and come back."""
    with Live(console=OUT, refresh_per_second=4, vertical_overflow="visible") as live:
        while True:
            try:
                live.update(await account_now(api))
            except TransientError:
                live.update(Text("A part of Tillstream is being restarted …", style="yellow"))
            await asyncio.sleep(0.5)


async def _sign_in_link(api: ApiClient) -> str:
    return str((await api.post("/v1/sign-in-links"))["url"])


@cli.command(rich_help_panel=HERE)
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
            connect = "on the dashboard, or: tillstream destinations add …, then tillstream connections add"
            show_facts(
                ("Dashboard", link),
                ("API", stack.api_url),
                ("Live", live),
                ("Connect", connect),
                ("Stop", "Ctrl-C"),
            )
            await asyncio.get_running_loop().create_future()
    return 0


@cli.command(rich_help_panel=HERE)
def processes(as_json: AsJson = False) -> None:
    """Show what runs on this machine, and where."""
    stack = next((found for home in homes(os.environ) if (found := read_state(home))), None)
    if stack is None:
        ERRORS.print("Tillstream does not run here. Start it with `make run` or `make demo`.")
        raise typer.Exit(FAILED)
    addresses = {name: url for name, url in stack.addresses.items() if name not in WITH_PASSWORDS}
    if as_json:
        children = [{"name": c.name, "pid": c.pid, "restarts": c.restarts, "log": c.log} for c in stack.children]
        show_json({"pid": stack.pid, "addresses": addresses, "processes": children})
        return
    rows = [(c.name, f"process {c.pid or '—'}, {c.restarts} restarts, {c.log}") for c in stack.children]
    show_facts(*addresses.items(), *rows)


@cli.command(rich_help_panel=HERE)
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
            show_json([{"name": c.name, "outcome": c.outcome, "sentence": c.sentence, "fix": c.fix} for c in checks])
        else:
            known = {Outcome.OK: "[green]✓[/]", Outcome.WARN: "[yellow]![/]", Outcome.FAIL: "[red]✗[/]"}
            signs = known | {Outcome.UNKNOWN: "[dim]–[/]"}
            for one in checks:
                OUT.print(f"{signs[one.outcome]} [bold]{one.name}[/] {one.sentence} {one.fix}".rstrip())
        return FAILED if any(one.outcome is Outcome.FAIL for one in checks) else 0

    main_task(show())


@cli.command(rich_help_panel=HERE)
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


cli.command(
    "psql",
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
    rich_help_panel=HERE,
)(psql.open_psql)
cli.add_typer(simulator_cli, name="simulator", rich_help_panel=HERE)

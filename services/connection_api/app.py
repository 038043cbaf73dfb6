"""Builds the API: state in the background, one gate before every route, the REST operations and the dashboard."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime

from aiohttp import web

from services.connection_api.access.access_routes import Audit, Tokens
from services.connection_api.access.attempts import Attempts
from services.connection_api.access.auth import Gate, add_security_headers, guarded_by
from services.connection_api.access.idempotency import Replays, idempotent
from services.connection_api.access.sessions import Credentials
from services.connection_api.access.sign_in import LINK_PATH, SIGN_OUT_PATH, SignIn
from services.connection_api.dashboard.account.pages import add_account_pages
from services.connection_api.dashboard.ask.pages import add_ask_pages
from services.connection_api.dashboard.browse.pages import add_data_pages
from services.connection_api.dashboard.dashboard import add_dashboard, link_page
from services.connection_api.dashboard.history_pages import add_history_pages
from services.connection_api.dashboard.search.pages import add_search
from services.connection_api.dashboard.settings.pages import add_settings_pages
from services.connection_api.rest.alarm_routes import AlarmRoutes
from services.connection_api.rest.comparison_routes import Comparisons
from services.connection_api.rest.data_routes import Data
from services.connection_api.rest.destinations import Destinations
from services.connection_api.rest.event_routes import Events
from services.connection_api.rest.installation_routes import InstallationRoutes
from services.connection_api.rest.letter_routes import DeadLetters
from services.connection_api.rest.life_routes import ConnectionLife
from services.connection_api.rest.operations import OPERATIONS
from services.connection_api.rest.question_routes import QuestionRoutes
from services.connection_api.rest.sync_routes import Syncs
from services.connection_api.routes import Connections, register
from services.connection_api.settings import ApiSettings
from services.connection_api.state import State
from shared.background import repeat, run_beside, until_available
from shared.http import Access, add_route, make_app, serve
from shared.kafka import Producer, ensure_topics
from shared.log import configure
from shared.settings import load

SEAL_INTERVAL = 60.0  # seconds in which whoever changes the audit log's newest entries is not found out
MAX_BODY = 64 * 1024  # bytes; the longest body is a key and a list of resources


def utc_now() -> datetime:
    """Return the time."""
    return datetime.now(UTC)


def create_app(
    settings: ApiSettings,
    *,
    producer: Producer | None = None,
    now: Callable[[], datetime] = utc_now,
    clock: Callable[[], float] = time.monotonic,
) -> web.Application:
    """Return the service's app; `now` gives the time with its zone, `clock` counts seconds."""
    has_kafka, producer = producer is None, producer or Producer(settings)
    state = State(settings, producer, now)
    credentials = Credentials(lambda: state.pool, settings.api_token)
    attempts = Attempts(clock, settings.proxy_networks, credentials.note_stranger)
    gate = Gate(credentials, settings.api_token, attempts)
    replays = Replays(lambda: state.pool, settings.key_ring)
    app = make_app(
        guarded_by(gate),
        idempotent(replays, OPERATIONS),
        ready={"database": state.is_ready},
        probe_port=settings.probe_port,
        max_body=MAX_BODY,
    )
    app.on_response_prepare.append(add_security_headers)
    sign_in = SignIn(credentials, attempts)
    nouns = (
        Destinations(state),
        Connections(state, now),
        ConnectionLife(state),
        QuestionRoutes(state),
        Syncs(state),
        Comparisons(state),
        Events(state),
        Data(state),
        DeadLetters(state),
        AlarmRoutes(state),
        InstallationRoutes(state, settings.public_url),
        sign_in,
        Tokens(state, now),
        Audit(state),
    )
    register(app, {name: handler for noun in nouns for name, handler in noun.handlers.items()})
    add_route(app, "POST", LINK_PATH, sign_in.redeem, Access.PUBLIC)
    add_route(app, "POST", SIGN_OUT_PATH, sign_in.sign_out, Access.PUBLIC)
    pages = add_dashboard(
        app, lambda: state.pool, list_setups=lambda: state.setups.list(), now=now, is_signed_in=gate.still_lets
    )
    add_route(app, "GET", LINK_PATH, link_page(pages, sign_in.require_link), Access.PUBLIC)
    add_account_pages(app, state, pages, settings, now)
    add_ask_pages(app, state, pages, now)
    add_data_pages(app, state, pages, now)
    add_search(app, state, pages)
    add_history_pages(app, state, pages, now)
    add_settings_pages(app, state, credentials, pages, settings, now)
    app.cleanup_ctx.append(_stopping(producer))
    run_beside(app, state.run)
    run_beside(
        app, lambda: repeat(state.seal_audit_log, interval_seconds=SEAL_INTERVAL, delayed="audit_log_seal_delayed")
    )
    if has_kafka:
        run_beside(app, lambda: until_available("kafka", lambda: ensure_topics(settings)))
    return app


def _stopping(producer: Producer) -> Callable[[web.Application], AsyncIterator[None]]:
    async def context(_app: web.Application) -> AsyncIterator[None]:
        yield
        await producer.stop()

    return context


async def main(environ: Mapping[str, str]) -> None:
    """Run the service until it is told to stop."""
    settings = load(ApiSettings, environ)
    configure(service="connection_api", level=settings.log_level, form=settings.log_format)
    await serve(create_app(settings), settings)

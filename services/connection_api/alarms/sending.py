"""Sends messages: each try has ten seconds, follows no redirect, and reaches only networks that destinations may."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from email.message import EmailMessage

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from services.connection_api.alarms.channel import Address, ChannelKind
from services.connection_api.alarms.letters import JSON, mail, sign, slack_body, webhook_body
from services.connection_api.alarms.rule import held_for
from services.connection_api.alarms.store import AlarmStore, Outgoing
from services.connection_api.mail_server import MailServer
from shared.crypto import SecretUnreadableError
from shared.errors import AppError, NotFoundError
from shared.heartbeat import beat, heart
from shared.log import get_logger
from shared.networks import NetworkRefusedError, Networks, resolve
from shared.retries import pause_seconds

TIMEOUT = 10.0  # seconds of one try
BATCH = 20  # messages that are tried at the same time
INTERVAL = 5.0  # seconds between two looks for what is due, unless woken
MOST_TRIES = 12  # over about a day
BASE_PAUSE, LONGEST_PAUSE = 15.0, 6 * 3600.0  # seconds


class NotSentError(AppError):
    """The message has not arrived."""

    code = "alarm_not_sent"


class Sender:
    """Sends what is due; several processes may, since a message belongs to who claims it."""

    def __init__(
        self, store: AlarmStore, *, networks: Networks, server: MailServer | None, now: Callable[[], datetime]
    ) -> None:
        """`server` sends mail, if there is one; `now` gives the time with its zone."""
        self._store = store
        self._networks = networks
        self._server = server
        self._now = now
        self._is_awake = asyncio.Event()

    def wake(self) -> None:
        """Look for what is due at once."""
        self._is_awake.set()

    async def run(self) -> None:
        """Send what is due, for ever."""
        with heart("alarms_sending"):
            while True:
                beat()
                self._is_awake.clear()
                try:
                    sent = await self.send_due()
                except AppError as error:
                    get_logger().warning("alarms_delayed", reason=error.message)
                    sent = 0
                if not sent:
                    try:
                        await asyncio.wait_for(self._is_awake.wait(), INTERVAL)
                    except TimeoutError:
                        continue

    async def send_due(self) -> int:
        """Try some messages that are due; return how many. Raises `DatabaseUnavailableError`."""
        due = await self._store.claim_due(BATCH)
        await asyncio.gather(*(self._try(message) for message in due))
        return len(due)

    async def _try(self, message: Outgoing) -> None:
        if wait := held_for(message.event, message.quiet, at=self._now()):
            await self._store.hold(message.id, wait)
            return
        try:
            address = await self._store.address(message.channel_id)
            await self._send(message, address)
        except (NotSentError, SecretUnreadableError) as error:
            get_logger().warning("alarm_not_sent", channel=message.channel_id, attempt=message.attempts)
            await self._store.note_failed(message.id, error.message, pause=self._pause(message))
        except NotFoundError:
            return  # its channel was removed meanwhile, and the message with it
        else:
            await self._store.note_arrived(message.id)

    def _pause(self, message: Outgoing) -> timedelta | None:
        """Return how long to wait after a try that failed, beyond quiet hours; `None` when it was the last."""
        pause = pause_after(message.attempts)
        return pause and pause + held_for(message.event, message.quiet, at=self._now() + pause)

    async def _send(self, message: Outgoing, to: Address) -> None:
        place = to.address.get_secret_value()
        if message.kind is ChannelKind.EMAIL:
            await self._mail(message, place)
        elif message.kind is ChannelKind.SLACK:
            await self._post(place, slack_body(message), {"Content-Type": JSON})
        else:
            body, seconds = webhook_body(message), int(self._now().timestamp())
            secret = to.secret
            if secret is None:
                raise NotSentError("The signing secret is missing. Remove this alarm and add it anew.")
            await self._post(place, body, dict(sign(body, message_id=message.id, seconds=seconds, secret=secret)))

    async def _post(self, place: str, body: bytes, headers: dict[str, str]) -> None:
        try:
            async with asyncio.timeout(TIMEOUT):
                status = await post(place, body, headers, self._networks)
        except TimeoutError:
            raise NotSentError(f"The receiver took longer than {TIMEOUT:.0f} seconds.") from None
        if 300 <= status < 400:
            raise NotSentError(f"The receiver answered with a redirect ({status}), which is not followed.")
        if not 200 <= status < 300:
            raise NotSentError(f"The receiver answered {status}.")

    async def _mail(self, message: Outgoing, to: str) -> None:
        if self._server is None:
            raise NotSentError("No mail server is set. Set TILLSTREAM_SMTP_URL and TILLSTREAM_SMTP_FROM.")
        letter = mail(message, sender=self._server.sender, to=to)
        await asyncio.to_thread(hand_in, self._server, letter)


async def post(place: str, body: bytes, headers: dict[str, str], networks: Networks) -> int:
    """Send a body and return the status of the answer; the session goes to the very address that was judged.

    Raises `NotSentError` in words that hold nothing of the address.
    """
    url = URL(place)
    try:
        found = await resolve(url.host or "", url.port or 0, networks)
    except NetworkRefusedError:
        raise NotSentError("Alarms may not be sent to the network of this address.") from None
    except (OSError, UnicodeError):
        raise NotSentError("The host of the address is unknown.") from None
    connector = aiohttp.TCPConnector(resolver=_Pinned(found), use_dns_cache=False)
    try:
        async with (
            aiohttp.ClientSession(connector=connector) as session,
            session.post(url, data=body, headers=headers, allow_redirects=False) as answer,
        ):
            return answer.status
    except aiohttp.ClientSSLError:
        raise NotSentError("The receiver's certificate could not be verified.") from None
    except (aiohttp.ClientError, OSError):
        raise NotSentError("The receiver could not be reached.") from None


def hand_in(server: MailServer, letter: EmailMessage) -> None:
    """Hand a letter to the mail server; raise `NotSentError`. It blocks, so it runs in a thread."""
    try:
        with _session(server) as session:
            _log_in(session, server)
            session.send_message(letter)
    except (smtplib.SMTPException, OSError) as error:
        raise NotSentError(_why_no_mail(error)) from None


def _session(server: MailServer) -> smtplib.SMTP:
    if server.is_tls:
        return smtplib.SMTP_SSL(server.host, server.port, timeout=TIMEOUT, context=ssl.create_default_context())
    return smtplib.SMTP(server.host, server.port, timeout=TIMEOUT)


def _log_in(session: smtplib.SMTP, server: MailServer) -> None:
    """Begin TLS where the server offers it, and log in where a user is set, never without TLS."""
    session.ehlo()
    is_safe = server.is_tls or session.has_extn("starttls")
    if is_safe and not server.is_tls:
        session.starttls(context=ssl.create_default_context())
        session.ehlo()
    if server.user and not is_safe:
        raise NotSentError("The mail server offers no TLS, so the password is not sent to it.")
    if server.user:
        session.login(server.user, server.password.get_secret_value())


def _why_no_mail(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return "The mail server refuses the user or the password of TILLSTREAM_SMTP_URL."
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "The mail server refuses the receiver's address."
    if isinstance(error, smtplib.SMTPResponseException):
        return f"The mail server answered {error.smtp_code}."
    if isinstance(error, ssl.SSLError):
        return "The mail server's certificate could not be verified."
    return "The mail server could not be reached."


def pause_after(attempts: int) -> timedelta | None:
    """Return how long to wait after so many tries, ever longer up to six hours; `None` when a message is given up."""
    if attempts >= MOST_TRIES:
        return None
    half = min(BASE_PAUSE * 3.0 ** (attempts - 1), LONGEST_PAUSE) / 2
    return timedelta(seconds=pause_seconds(0, base=half, cap=half, at_least=half))


class _Pinned(AbstractResolver):
    """Leads to the addresses that were found before, so that no second look-up can lead elsewhere."""

    def __init__(self, addresses: Sequence[str]) -> None:
        self._addresses = addresses

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in self._addresses
        ]

    async def close(self) -> None:
        """Nothing is open."""

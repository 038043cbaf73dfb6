"""The use cases of alarms: add a channel, send it a test, remove it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pydantic import SecretStr
from yarl import URL

from services.connection_api.alarms.channel import Address, Channel, ChannelKind, QuietHours
from services.connection_api.alarms.letters import make_signing_secret
from services.connection_api.alarms.sentences import TEST_SENTENCE
from services.connection_api.alarms.store import AlarmStore
from shared.audit import Actor
from shared.errors import PayloadError

MAIL_ADDRESS = re.compile(r"[^@\s<>,;\"\x00-\x1f]{1,64}@[^@\s<>,;\"\x00-\x1f]{1,255}\Z")
NO_MAIL = "No mail server is set. Set TILLSTREAM_SMTP_URL and TILLSTREAM_SMTP_FROM, and start connection_api anew."


@dataclass(frozen=True, slots=True)
class Made:
    """A channel that was added, with the secret of a webhook: it is shown only now."""

    channel: Channel
    secret: SecretStr | None


class Alarms:
    """What people do to alarms."""

    def __init__(self, store: AlarmStore, *, has_mail: bool, wake: Callable[[], None]) -> None:
        """`has_mail` tells whether a mail server is set; `wake` lets a message be sent at once."""
        self.store = store
        self.has_mail = has_mail
        self._wake = wake

    async def add(
        self, kind: ChannelKind, address: SecretStr, *, events: Sequence[str], quiet: QuietHours | None, by: Actor
    ) -> Made:
        """Keep a channel; raise `PayloadError` for an address that can't be one, `ConflictError` for too many."""
        if kind is ChannelKind.EMAIL and not self.has_mail:
            raise PayloadError(NO_MAIL, field="kind")
        shown = check_address(kind, address)
        secret = make_signing_secret() if kind is ChannelKind.WEBHOOK else None
        chosen = tuple(dict.fromkeys(events))
        channel = await self.store.add(kind, Address(address, secret), shown=shown, events=chosen, quiet=quiet, by=by)
        return Made(channel, secret)

    async def test(self, channel_id: str, *, by: Actor) -> str:
        """Send a test, whatever the hour; return the message's id. Raises `NotFoundError`."""
        message_id = await self.store.queue_test(channel_id, TEST_SENTENCE, by=by)
        self._wake()
        return message_id

    async def remove(self, channel_id: str, *, by: Actor) -> None:
        """Forget a channel and its messages; raise `NotFoundError`."""
        await self.store.remove(channel_id, by=by)


def check_address(kind: ChannelKind, address: SecretStr) -> str:
    """Return what may be shown of an address: its host, and the first letter of a mail's; raise `PayloadError`."""
    text = address.get_secret_value()
    if kind is ChannelKind.EMAIL:
        if not MAIL_ADDRESS.match(text):
            raise PayloadError("This is no mail address. Give one, such as ada@example.com.", field="address")
        return f"{text[0]}…@{text.rpartition('@')[2]}"
    try:
        url = URL(text)
        host, port = url.host, url.explicit_port
    except ValueError:
        host, port, url = None, None, URL()
    if url.scheme not in ("https", "http") or not host or url.user or url.password:
        raise PayloadError("Give the whole address, such as https://example.com/alarms.", field="address")
    return host if port is None else f"{host}:{port}"

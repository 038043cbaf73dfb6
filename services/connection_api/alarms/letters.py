"""What is sent: the body of each kind of message, and the signature of a webhook. Pure."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
from collections.abc import Callable, Mapping
from datetime import UTC
from email.message import EmailMessage

from pydantic import SecretStr

from services.connection_api.alarms.store import Outgoing

SECRET_PREFIX = "whsec_"  # noqa: S105 - what a secret begins with
SECRET_BYTES = 32
LONGEST_SUBJECT = 120  # characters
JSON = "application/json"


def make_signing_secret(random: Callable[[int], bytes] = os.urandom) -> SecretStr:
    """Return a new secret. https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md"""
    return SecretStr(SECRET_PREFIX + base64.b64encode(random(SECRET_BYTES)).decode())


def sign(body: bytes, *, message_id: str, seconds: int, secret: SecretStr) -> Mapping[str, str]:
    """Return the headers of a webhook that is sent at `seconds` since 1970, as Standard Webhooks has them."""
    key = base64.b64decode(secret.get_secret_value().removeprefix(SECRET_PREFIX))
    signed = f"{message_id}.{seconds}.".encode() + body
    signature = base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return {
        "Content-Type": JSON,
        "webhook-id": message_id,
        "webhook-timestamp": str(seconds),
        "webhook-signature": f"v1,{signature}",
    }


def webhook_body(message: Outgoing) -> bytes:
    """Return what a webhook says; it is the same at each try."""
    accounts = list(message.accounts)
    content = {
        "type": message.event,
        "timestamp": message.created_at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "data": {
            "connection": accounts[0] if message.number == 1 and accounts else None,
            "connections": accounts,
            "number": message.number,
            "sentence": message.sentence,
            "url": message.url,
        },
    }
    return json.dumps(content, ensure_ascii=False).encode()


def slack_body(message: Outgoing) -> bytes:
    """Return what Slack is sent. https://docs.slack.dev/messaging/formatting-message-text#escaping"""
    text = _with_url(message)
    for sign_, entity in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(sign_, entity)
    return json.dumps({"text": text}, ensure_ascii=False).encode()


def mail(message: Outgoing, *, sender: str, to: str) -> EmailMessage:
    """Return the message as mail: its first sentence is the subject."""
    letter = EmailMessage()
    first = message.sentence.split(". ")[0].rstrip(".")
    letter["Subject"] = first if len(first) <= LONGEST_SUBJECT else f"{first[: LONGEST_SUBJECT - 1]}…"
    letter["From"] = sender
    letter["To"] = to
    letter["Date"] = message.created_at
    letter["Message-ID"] = f"<{message.id}@{sender.rpartition('@')[2]}>"
    letter["Auto-Submitted"] = "auto-generated"  # https://www.rfc-editor.org/rfc/rfc3834#section-5
    letter.set_content(f"{_with_url(message)}\n")
    return letter


def _with_url(message: Outgoing) -> str:
    return f"{message.sentence} {message.url}" if message.url else message.sentence

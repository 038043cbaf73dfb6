"""The mail server of the settings, by its parts."""

from __future__ import annotations

from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

PORTS = {"smtp": 587, "smtps": 465}  # https://www.rfc-editor.org/rfc/rfc8314#section-3.3


@dataclass(frozen=True, slots=True)
class MailServer:
    """Where mail is handed in; `sender` is the address that it comes from."""

    host: str
    port: int
    is_tls: bool  # from the first byte on; else by STARTTLS, where the server offers it
    user: str
    password: SecretStr = field(repr=False)
    sender: str = ""


def parse_smtp_url(url: SecretStr) -> MailServer:
    """Return the server of `smtp://user:password@host:587` or `smtps://…`; raise `ValueError`, which quotes nothing."""
    try:
        parts = urlsplit(url.get_secret_value().strip())
        port = parts.port or PORTS.get(parts.scheme)
    except ValueError:
        raise ValueError("it can't be read: give smtp://user:password@host:587") from None
    if port is None or not parts.hostname or parts.path.strip("/") or parts.query or parts.fragment:
        raise ValueError("give smtp://user:password@host:587 or smtps://user:password@host:465")
    return MailServer(
        host=parts.hostname,
        port=port,
        is_tls=parts.scheme == "smtps",
        user=unquote(parts.username or ""),
        password=SecretStr(unquote(parts.password or "")),
    )

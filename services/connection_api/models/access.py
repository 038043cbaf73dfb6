"""Bodies and answers about sign-in, tokens and the audit log."""

from __future__ import annotations

from datetime import datetime

from services.connection_api.models.base import Answer


class SignInLinkAnswer(Answer):
    """A link that signs a browser in, once."""

    url: str
    expires_at: datetime

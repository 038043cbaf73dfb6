"""Whether the public URL leads to the webhook gateway: it is asked once, as Stripe would ask it.

Only the address that stands in the settings is asked. No redirect is followed, and no body is read.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import aiohttp

from shared.http import PROBLEM

# Where Stripe posts to, with an endpoint that there is none of. The gateway takes nothing but posts there.
PATH = "/webhooks/stripe/we_test"
REFUSED, UNKNOWN = 405, 404  # how the gateway and another part of Tillstream answer a GET
TIMEOUT = 5.0  # seconds


@dataclass(frozen=True, slots=True)
class Tried:
    """What came of asking: whether the gateway answers, what happened, and what to do about it."""

    is_fine: bool
    sentence: str
    fix: str = ""


FINE = Tried(True, "The webhook gateway answers there.")
NOT_SET = Tried(False, "No public URL is set, so changes are found by polling.", "Set TILLSTREAM_PUBLIC_URL.")


async def try_public_url(url: str | None, *, timeout: float = TIMEOUT) -> Tried:
    """Ask the gateway over the public URL, within a time in seconds; it never raises."""
    if url is None:
        return NOT_SET
    try:
        async with (
            asyncio.timeout(timeout),
            aiohttp.ClientSession() as session,
            session.get(url.rstrip("/") + PATH, allow_redirects=False) as answer,
        ):
            return judge(answer.status, answer.content_type)
    except TimeoutError:
        return Tried(False, f"Nothing answered within {timeout:.0f} seconds.", "Let traffic reach the gateway.")
    except aiohttp.ClientConnectorDNSError:
        return Tried(False, "The host of the public URL is unknown.", "Mind the spelling, and the DNS record.")
    except aiohttp.ClientConnectorCertificateError:
        return Tried(False, "The certificate can't be verified.", "Stripe refuses it too. Renew it, with its chain.")
    except aiohttp.ClientSSLError:
        return Tried(False, "TLS fails there.", "Let the proxy before the gateway speak TLS 1.2 or newer.")
    except (aiohttp.ClientError, OSError, ValueError):
        return Tried(False, "Nothing listens there.", "Start the gateway, or the proxy before it; mind the port.")


def judge(status: int, content_type: str) -> Tried:
    """Return what an answer means. Pure."""
    if content_type == PROBLEM and status == REFUSED:
        return FINE
    if content_type == PROBLEM and status == UNKNOWN:
        fix = "Lead the public URL to webhook-gateway, with its path unchanged."
        return Tried(False, "Tillstream answers there, but not its webhook gateway.", fix)
    if 300 <= status < 400:
        return Tried(False, f"It answers with a redirect ({status}).", "Stripe follows none. Give where it leads.")
    if status in (502, 503, 504):
        return Tried(False, f"A proxy answers {status}: it does not reach the gateway.", "Mind its upstream's address.")
    return Tried(False, f"Something else answers there ({status}).", "Lead the public URL to webhook-gateway.")

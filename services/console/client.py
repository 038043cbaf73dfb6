"""Speaks to the API for the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp

from local_stack.state import read_state
from services.console.secrets_file import load_secrets
from shared.errors import AppError, ConfigError, TransientError

UNAVAILABLE = 503
TIMEOUT = aiohttp.ClientTimeout(total=60)


class ApiError(AppError):
    """The API refused the request."""

    def __init__(self, message: str, *, code: str, status: int) -> None:
        """Take what the problem document says."""
        super().__init__(message)
        self.reason = code
        self.http_status = status


class ApiUnavailableError(TransientError):
    """Tillstream does not answer at the moment."""

    code = "api_unavailable"


class ApiClient:
    """Calls the API with a bearer token."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: str | int) -> Any:
        """Return the JSON answer of a read; raise `ApiError` or `ApiUnavailableError`."""
        return await self._call("GET", path, params=query)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer of a change; raise `ApiError` or `ApiUnavailableError`."""
        return await self._call("POST", path, json=body or {})

    async def delete(self, path: str) -> Any:
        """Return the JSON answer of a removal; raise `ApiError` or `ApiUnavailableError`."""
        return await self._call("DELETE", path)

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        try:
            async with self._session.request(
                method, self._url + path, headers=self._headers, timeout=TIMEOUT, **arguments
            ) as answer:
                text = await answer.text()
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ApiUnavailableError(
                f"Tillstream does not answer at {self._url}. Is it running? Try `tillstream status`."
            ) from error
        body = json.loads(text) if text else None
        if answer.status >= 400:
            problem = body or {}
            if answer.status == UNAVAILABLE:
                raise ApiUnavailableError(problem.get("detail"))
            raise ApiError(problem.get("detail", text), code=problem.get("code", "error"), status=answer.status)
        return body


@asynccontextmanager
async def connected(url: str, token: str) -> AsyncIterator[ApiClient]:
    """Lend a client."""
    async with aiohttp.ClientSession() as session:
        yield ApiClient(session, url, token)


def find_api(environ: Mapping[str, str], homes: tuple[Path, ...]) -> tuple[str, str]:
    """Return address and token: from the environment, else of the stack that runs on this machine.

    Raises `ConfigError` when neither is there.
    """
    url, token = environ.get("TILLSTREAM_API_URL"), environ.get("TILLSTREAM_API_TOKEN")
    if url and token:
        return url, token
    for home in homes:
        state = read_state(home)
        if state and "api_url" in state.addresses:
            return state.addresses["api_url"], load_secrets(home).api_token
    raise ConfigError(
        "No Tillstream runs on this machine. Start one with `make run` or `make demo`, or name another with "
        "TILLSTREAM_API_URL and TILLSTREAM_API_TOKEN."
    )

"""Speaks to the API for the command line."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp

from local_stack.state import read_state
from services.console.secrets_file import load_secrets
from shared.errors import AppError, ConfigError, TransientError

UNAUTHORIZED, UNAVAILABLE = 401, 503
TIMEOUT = aiohttp.ClientTimeout(total=60)
EXPORT_TIMEOUT = aiohttp.ClientTimeout(sock_connect=10, sock_read=60)
LARGEST_PAGE = 100  # as the API allows
CHUNK = 64 * 1024  # bytes


class ApiError(AppError):
    """The API refused the request."""

    def __init__(self, problem: Mapping[str, Any]) -> None:
        """Take the problem document."""
        advice = " TILLSTREAM_API_TOKEN has to hold a valid one." if problem.get("status") == UNAUTHORIZED else ""
        super().__init__(f"{problem.get('detail') or problem.get('title')}{advice}", field=problem.get("field"))
        self.problem = dict(problem)
        self.reason = str(problem.get("code", self.code))


class ApiUnavailableError(TransientError):
    """Tillstream does not answer at the moment."""

    code = "api_unavailable"


@dataclass(frozen=True, slots=True)
class Rows:
    """The beginning of a list, and whether there is more of it."""

    data: list[dict[str, Any]]
    has_more: bool


class ApiClient:
    """Calls the API with a bearer token; every method raises `ApiError` or `ApiUnavailableError`."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self._session = session
        self._url = url.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"}

    async def get(self, path: str, **query: str | int | None) -> Any:
        """Return the JSON answer of a read; what is None is not asked for."""
        return await self._call("GET", path, params=_given(query))

    async def list(self, path: str, *, at_most: int | None = None, **query: str | int | None) -> Rows:
        """Return the rows of a list, page by page; all of them, unless there is a limit."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while True:
            limit = LARGEST_PAGE if at_most is None else min(LARGEST_PAGE, at_most - len(found))
            page = await self.get(path, limit=limit, cursor=cursor, **query)
            found += page["data"]
            cursor = page["next_cursor"]
            if cursor is None or len(found) == at_most:
                return Rows(found, cursor is not None)

    async def post(self, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Return the JSON answer of a change."""
        return await self._call("POST", path, json=body or {})

    async def put(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer of a change that sets something anew."""
        return await self._call("PUT", path, json=body)

    async def patch(self, path: str, body: Mapping[str, Any]) -> Any:
        """Return the JSON answer of a change of some fields."""
        return await self._call("PATCH", path, json=body)

    async def delete(self, path: str) -> Any:
        """Return the JSON answer of a removal."""
        return await self._call("DELETE", path)

    async def read(self, path: str, **query: str | int | None) -> AsyncGenerator[bytes]:
        """Yield an answer that may be long, in parts."""
        with self._translated_errors():
            async with self._session.get(
                self._url + path, headers=self._headers, timeout=EXPORT_TIMEOUT, params=_given(query)
            ) as answer:
                if answer.status >= 400:
                    self._refuse(answer.status, await answer.text())
                async for chunk in answer.content.iter_chunked(CHUNK):
                    yield chunk

    async def _call(self, method: str, path: str, **arguments: Any) -> Any:
        with self._translated_errors():
            async with self._session.request(
                method, self._url + path, headers=self._headers, timeout=TIMEOUT, **arguments
            ) as answer:
                text = await answer.text()
        if answer.status >= 400:
            self._refuse(answer.status, text)
        return self._parse(text) if text else None

    def _refuse(self, status: int, text: str) -> None:
        problem = self._parse(text)
        if status == UNAVAILABLE:
            raise ApiUnavailableError(problem.get("detail"))
        raise ApiError(problem)

    def _parse(self, text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise ApiUnavailableError(f"What answers at {self._url} is not Tillstream's API.") from error

    @contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            raise ApiUnavailableError(
                f"Tillstream does not answer at {self._url}. Is it running? Try `tillstream processes`."
            ) from error


def path_of(collection: str, id_: str, *action: str) -> str:
    """Return the path of one thing, or of something that it does; an id can't lead elsewhere, whatever was typed."""
    return "/".join((collection, quote(id_, safe=""), *action))


def _given(query: Mapping[str, str | int | None]) -> dict[str, str | int]:
    return {name: value for name, value in query.items() if value is not None}


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
    if url:
        return _named(url, token)
    for home in homes:
        state = read_state(home)
        if state and "api_url" in state.addresses:
            return state.addresses["api_url"], load_secrets(home).api_token
    raise ConfigError(
        "No Tillstream runs on this machine. Start one with `make run` or `make demo`, or name another with "
        "TILLSTREAM_API_URL and TILLSTREAM_API_TOKEN."
    )


def _named(url: str, token: str | None) -> tuple[str, str]:
    """Return address and token as given; a half is never completed with another Tillstream's."""
    if not url.startswith(("http://", "https://")):
        raise ConfigError("TILLSTREAM_API_URL is no address: it begins with http:// or https://.")
    if not token:
        raise ConfigError("TILLSTREAM_API_URL is set, but TILLSTREAM_API_TOKEN is not: it needs a token of that API.")
    return url, token

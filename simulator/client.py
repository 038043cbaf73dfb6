"""Speaks to a running simulator's control API."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlencode
from urllib.request import Request, urlopen

TIMEOUT = 60.0  # seconds


class ControlClientError(Exception):
    """The simulator refused, or does not answer."""


class ControlClient:
    """A blocking client for the command line and for tests; `url` is where the simulator listens."""

    def __init__(self, url: str) -> None:
        if not url.startswith(("http://", "https://")):
            raise ControlClientError(f"{url} is no address: it has to begin with http://.")
        self._url = url.rstrip("/")

    def get(self, path: str, **query: Any) -> Any:
        """Give the JSON answer of a read; `path` is below `/_control/`."""
        return json.loads(self._open("GET", path, query))

    def post(self, path: str, body: dict[str, Any] | None = None, **query: Any) -> Any:
        """Give the JSON answer of a change."""
        return json.loads(self._open("POST", path, query, body or {}))

    def delete(self, path: str) -> Any:
        """Give the JSON answer of a removal."""
        return json.loads(self._open("DELETE", path, {}))

    def iter_truth(self, resource: str, *, children: bool = False) -> Iterator[dict[str, Any]]:
        """Give the current state of every object of a resource, or of every parent's children."""
        text = self._open("GET", "truth/children" if children else "truth", {"resource": resource})
        return (json.loads(line) for line in text.splitlines() if line)

    def _open(self, method: str, path: str, query: dict[str, Any], body: dict[str, Any] | None = None) -> str:
        wanted = urlencode({key: value for key, value in query.items() if value is not None})
        url = f"{self._url}/_control/{path}" + (f"?{wanted}" if wanted else "")
        data = None if body is None else json.dumps(body).encode()
        request = Request(url, data=data, method=method)  # noqa: S310 - the constructor takes http(s) only
        try:
            with urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310
                text: str = answer.read().decode()
                return text
        except HTTPError as error:
            raise ControlClientError(_reason(error)) from error
        except (URLError, OSError) as error:
            raise ControlClientError(
                f"No simulator answers at {self._url}. Start one with `tillstream simulator serve`, or give --url."
            ) from error


def _reason(error: HTTPError) -> str:
    text = error.read().decode(errors="replace")
    try:
        return str(json.loads(text)["error"])
    except (ValueError, KeyError, TypeError):
        return f"The simulator answered {error.code}: {text[:200]}"

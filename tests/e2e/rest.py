"""A blocking client of the REST API, for tests that look in from outside."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

TIMEOUT = 30.0  # seconds


class Rest:
    """Reads what the API says."""

    def __init__(self, url: str, token: str) -> None:
        self._url = url
        self._token = token

    def get(self, path: str) -> Any:
        request = Request(self._url + path, headers={"Authorization": f"Bearer {self._token}"})
        with urlopen(request, timeout=TIMEOUT) as answer:
            return json.load(answer)

    def newest_sync(self) -> dict[str, Any]:
        return dict(self.get("/v1/syncs?limit=1")["data"][0])

    def events(self) -> set[str]:
        """Return type and id of the newest events that reached the destination."""
        return {f"{event['type']} {event['event_id']}" for event in self.get("/v1/events?limit=100")["data"]}

"""An API that is played, and commands that find it."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.background import background
from tests.unit.console.playing import TOKEN, PlayedApi, playing


@pytest.fixture(autouse=True)
def _in_utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Times are shown in the machine's zone."""
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedApi]:
    with background() as loop, loop.holding(playing()) as played:
        monkeypatch.setenv("TILLSTREAM_API_URL", played.url)
        monkeypatch.setenv("TILLSTREAM_API_TOKEN", TOKEN)
        yield played

"""What a shell offers after Tab."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from services.console import completion
from tests.unit.console.answers import REMOVAL, TOKENS, connection, destination, sync
from tests.unit.console.playing import PlayedApi, page


@pytest.mark.parametrize(
    ("offers", "operation", "row", "described"),
    [
        (completion.connections, "list_connections", connection(), "Acme Inc"),
        (completion.destinations, "list_destinations", destination(), "Warehouse"),
        (completion.syncs, "list_all_syncs", sync(), "backfill, succeeded"),
        (completion.tokens, "list_tokens", TOKENS[0], "nightly export"),
        (completion.removals, "list_removals", REMOVAL, "acct_1NvAcmeAcmeAcme1"),
    ],
)
def test_ids_are_offered_with_what_they_stand_for(
    api: PlayedApi,
    offers: Callable[[str], list[tuple[str, str]]],
    operation: str,
    row: dict[str, str],
    described: str,
) -> None:
    api.give(operation, page(row))
    assert offers("") == offers(row["id"][:6]) == [(row["id"], described)]
    assert offers("nothing") == []


def test_name_of_an_account_runs_nothing_in_a_shell(api: PlayedApi) -> None:
    api.give("list_connections", page(connection(account_name="""Evil `rm` $(rm) "'; rm\\ & Sons""")))
    [(_, described)] = completion.connections("")
    assert described.split() == ["Evil", "rm", "rm", "rm", "Sons"]


def test_without_an_api_nothing_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILLSTREAM_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("TILLSTREAM_API_TOKEN", "t")
    assert completion.connections("") == []

"""Commands about destinations, tokens, the audit log and the catalogue, against an API that is played."""

from __future__ import annotations

import pytest

from tests.unit.console.answers import AUDIT_ENTRY, RESOURCE, TEST_ANSWER, TOKENS, destination
from tests.unit.console.playing import PlayedApi, page
from tests.unit.console.terminal import Terminal, run

ADDRESS = "postgresql://loader:s3cret@db.example.com:5432/analytics"


def test_destination_is_added_by_an_address_from_standard_input(api: PlayedApi) -> None:
    api.give("create_destination", destination())
    ended = run("destinations", "add", "Warehouse", "--schema", "raw", input=ADDRESS + "\n")
    assert api.called("create_destination").body == {
        "name": "Warehouse",
        "url": ADDRESS,
        "schema": "raw",
        "deleted_rows": "marked",
    }
    assert "s3cret" not in ended.out + ended.err


def test_choice_about_deleted_rows_is_changed(api: PlayedApi) -> None:
    api.give("list_destinations", page(destination()))
    api.give("change_destination", destination(deleted_rows="removed"))
    ended = run("destinations", "change", "Warehouse", "--deleted-rows", "removed")
    assert api.called("change_destination").body == {"deleted_rows": "removed"}
    assert "deleted rows are removed" in ended.out


def test_failed_test_shows_what_to_do(api: PlayedApi) -> None:
    api.give("test_destination", TEST_ANSWER)
    ended = run("destinations", "test", input=ADDRESS)
    assert ended.code == 1
    assert ended.out.splitlines() == [
        "✓ login: Logged in as loader.",
        "✗ schema: The user may not create schemas.",
        "  Let an administrator run this:",
        "",
        'GRANT CREATE ON DATABASE "analytics" TO "loader";',
        "",
    ]


def test_kept_destination_is_tested_without_its_address(api: PlayedApi) -> None:
    api.give("list_destinations", page(destination()))
    api.give("try_destination", {"passed": True, "steps": []})
    assert run("destinations", "test", "Warehouse").code == 0
    assert api.called("try_destination").id == "dst_warehousewarehousewa1"


def test_destination_is_changed_in_what_is_given(api: PlayedApi) -> None:
    api.give("list_destinations", page(destination()))
    api.give("change_destination", destination(name="Lake"))
    assert run("destinations", "change", "Warehouse").code == 2
    assert run("destinations", "change", "Warehouse", "--name", "Lake").code == 0
    assert run("destinations", "change", "Warehouse", "--address", input=ADDRESS).code == 0
    bodies = [call.body for call in api.calls if call.operation == "change_destination"]
    assert bodies == [{"name": "Lake"}, {"url": ADDRESS}]


def test_destination_is_removed_after_a_yes(api: PlayedApi) -> None:
    api.give("list_destinations", page(destination()))
    api.give("delete_destination", None)
    assert run("destinations", "remove", "Warehouse").code == 2
    with Terminal(("destinations", "remove", "Warehouse"), {}) as terminal:
        terminal.wait_for("Remove it?")
        terminal.type("n\n")
        assert (terminal.end(), "delete_destination" in api.names) == (1, False)
    with Terminal(("destinations", "remove", "Warehouse"), {}) as terminal:
        terminal.wait_for("Remove it?")
        terminal.type("y\n")
        assert (terminal.end(), "delete_destination" in api.names) == (0, True)


def test_new_token_is_the_only_secret_that_is_printed(api: PlayedApi) -> None:
    api.give("create_token", TOKENS[0] | {"token": "tst_secret"})
    ended = run("tokens", "create", "nightly export", "--expires", "2027-01-31")
    assert ended.out == "tst_secret\n"
    assert "not shown again" in ended.err
    assert api.called("create_token").body == {
        "name": "nightly export",
        "scope": "read",
        "expires_at": "2027-01-31T00:00:00+00:00",
    }


def test_token_is_revoked_after_a_yes(api: PlayedApi) -> None:
    api.give("revoke_token", None)
    assert run("tokens", "revoke", "tok_aaaaabbbbbcccccddddd1").code == 2
    assert run("tokens", "revoke", "tok_aaaaabbbbbcccccddddd1", "--yes").code == 0
    assert api.called("revoke_token").id == "tok_aaaaabbbbbcccccddddd1"


def test_tokens_are_listed(api: PlayedApi) -> None:
    api.give("list_tokens", page(*TOKENS))
    ended = run("tokens", "list")
    assert "● valid" in ended.out
    assert "○ expired" in ended.out


def test_audit_log_is_listed_by_subject(api: PlayedApi) -> None:
    api.give("list_audit_log", page(AUDIT_ENTRY))
    ended = run("audit", "list", "--subject", "con_5f3kacmeacmeacmeacme2")
    assert "connection.key_updated" in ended.out
    assert api.called("list_audit_log").query == {"subject": "con_5f3kacmeacmeacmeacme2", "limit": "25"}
    api.give("list_audit_log", page(AUDIT_ENTRY, next_cursor="c1"))
    assert run("audit", "list", "--limit", "1").err == "These are the newest 1; --limit shows more.\n"


@pytest.mark.parametrize(
    ("broken_at", "code", "says"),
    [(None, 0, "is whole: 7 entries, sealed up to entry 5"), (8, 1, "Entry 8 was changed")],
)
def test_audit_log_is_verified(api: PlayedApi, broken_at: int | None, code: int, says: str) -> None:
    answer = {"entries": 7, "broken_at": broken_at, "sealed_to": None if broken_at else 5}
    api.give("verify_audit_log", answer)
    ended = run("audit", "verify")
    assert ended.code == code
    assert says in ended.out + ended.err
    assert run("audit", "verify", "--json").json == answer


def test_resources_are_listed(api: PlayedApi) -> None:
    api.give("list_resources", page(RESOURCE))
    assert "rak_charge_read" in run("resources", "list").out


SESSION = {
    "id": "ses_0123456789abcdef",
    "person": "Ada Lovelace",
    "address": "192.0.2.7",
    "opened_at": "2026-11-25T11:30:00Z",
    "used_at": "2026-11-25T11:40:00Z",
    "expires_at": "2026-11-25T23:30:00Z",
}


def test_sessions_are_listed_and_ended(api: PlayedApi) -> None:
    api.give("list_sessions", page(SESSION))
    api.give("end_session", None)
    listed = run("sessions", "list")
    assert all(word in listed.out for word in ("Ada Lovelace", "192.0.2.7", SESSION["id"]))
    ended = run("sessions", "end", SESSION["id"], "--yes")
    assert (ended.code, api.called("end_session").id) == (0, SESSION["id"])


def test_nobody_signed_in_leads_to_a_link(api: PlayedApi) -> None:
    api.give("list_sessions", page())
    assert "tillstream sign-in" in run("sessions", "list").out

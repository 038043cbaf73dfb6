"""Secrets at rest open only with their key, in their row and field; ids and tokens don't repeat."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.crypto import (
    KeyRing,
    SecretUnreadableError,
    hash_token,
    is_token,
    make_encryption_key,
    make_id,
    make_token,
    parse_key_ring,
)
from shared.errors import ConfigError

OLD, NEW = (f"{name}:{base64.b64encode(name.encode().ljust(32)).decode()}" for name in ("old", "new"))
RING = parse_key_ring(OLD)
SEALED = RING.encrypt("rk_live_secret", owner="con_1", name="api_key")


@given(st.text(), st.text(), st.text())
def test_a_secret_comes_back_from_its_row_and_field(secret: str, owner: str, name: str) -> None:
    assert RING.decrypt(RING.encrypt(secret, owner=owner, name=name), owner=owner, name=name) == secret


@pytest.mark.parametrize(("owner", "name"), [("con_2", "api_key"), ("con_1", "secret"), ("con_1a", "pi_key")])
def test_a_secret_that_was_copied_elsewhere_does_not_open(owner: str, name: str) -> None:
    with pytest.raises(SecretUnreadableError):
        RING.decrypt(SEALED, owner=owner, name=name)


@given(st.integers(0, len(SEALED) - 1), st.integers(1, 255))
def test_a_secret_that_was_altered_does_not_open(at: int, change: int) -> None:
    altered = bytes([*SEALED[:at], SEALED[at] ^ change, *SEALED[at + 1 :]])
    with pytest.raises(SecretUnreadableError):
        RING.decrypt(altered, owner="con_1", name="api_key")


@given(st.integers(0, len(SEALED) - 1))
def test_a_secret_that_was_cut_does_not_open(length: int) -> None:
    with pytest.raises(SecretUnreadableError):
        RING.decrypt(SEALED[:length], owner="con_1", name="api_key")


def test_after_a_rotation_the_old_key_still_opens_and_the_new_one_seals() -> None:
    rotated = parse_key_ring(f"{NEW},{OLD}")
    assert rotated.decrypt(SEALED, owner="con_1", name="api_key") == "rk_live_secret"
    fresh = rotated.encrypt("rk_live_secret", owner="con_1", name="api_key")
    with pytest.raises(SecretUnreadableError):
        RING.decrypt(fresh, owner="con_1", name="api_key")


def test_the_same_secret_is_never_sealed_alike() -> None:
    assert RING.encrypt("rk_live_secret", owner="con_1", name="api_key") != SEALED


def test_a_key_ring_does_not_show_its_keys() -> None:
    assert OLD.partition(":")[2] not in repr(RING)
    assert repr(RING.keys[0][1]) not in repr(RING)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        (" , ", "is empty"),
        ("k", "entry 1 is not"),
        ("k:", "entry 1 is not"),
        (f"{OLD},k:{base64.b64encode(b'short').decode()}", "entry 2 is not"),
        ("k:not base64!", "entry 1 is not"),
        ("k:ключ", "entry 1 is not"),
        (f"{'k' * 33}:{OLD.partition(':')[2]}", "entry 1 is not"),
        (f"ключ:{OLD.partition(':')[2]}", "entry 1 is not"),
        (f"{OLD},old:{NEW.partition(':')[2]}", "entry 2 has the id of an earlier one"),
    ],
)
def test_keys_that_can_not_be_used_are_named_by_their_place(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        parse_key_ring(text)
    assert OLD.partition(":")[2] not in str(caught.value)


def test_a_key_that_is_made_can_be_used() -> None:
    ring = parse_key_ring(make_encryption_key("k1"))
    assert ring.decrypt(ring.encrypt("x", owner="a", name="b"), owner="a", name="b") == "x"
    assert ring != parse_key_ring(make_encryption_key("k1"))


def test_white_space_between_keys_is_fine() -> None:
    assert parse_key_ring(f" {NEW} ,\n{OLD},").keys == (*parse_key_ring(NEW).keys, *RING.keys)


def test_ids_and_tokens_are_new_each_time_and_fit_in_a_url() -> None:
    made = [make_id("con") for _ in range(100)] + [make_token("tst") for _ in range(100)]
    assert len(set(made)) == 200
    assert all(one.replace("_", "").isalnum() and one == one.lower() for one in made)


def test_a_token_is_stored_as_its_hash() -> None:
    token = make_token("tst")
    assert hash_token(token) == hash_token(token)
    assert token.encode() not in hash_token(token)


@given(st.text(max_size=60))
def test_what_was_not_made_as_a_token_is_none(text: str) -> None:
    assert not is_token(text, "tls")


def test_a_token_is_known_by_its_checksum() -> None:
    token = make_token("tls")
    assert is_token(token, "tls")
    others = (token[:-1], token + "a", token.upper(), f"{token[:9]}{'b' if token[9] == 'a' else 'a'}{token[10:]}")
    assert not [other for other in others if is_token(other, "tls")]
    assert not is_token(token, "ses")


def test_rings_with_the_same_keys_are_the_same() -> None:
    assert KeyRing(RING.keys) == RING

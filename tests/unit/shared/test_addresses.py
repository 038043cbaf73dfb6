"""Every part of an address is used or refused by name, and nothing that may be the password is quoted."""

from __future__ import annotations

import traceback
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.sync_worker.settings import WorkerSettings
from shared.crypto import make_encryption_key
from shared.db import state_sessions
from shared.destinations import PostgresAddress, parse_postgres_url
from shared.errors import ConfigError, PayloadError
from shared.settings import load
from tests.authority import Authority

SECRET = "CANARYpw"
PLACE = "127.0.0.1:5432/plain"


def parse(url: str, **beside: str) -> PostgresAddress:
    return parse_postgres_url(url, schema="stripe", **beside)[0]  # type: ignore[arg-type]


def refusal(url: str) -> str:
    with pytest.raises(PayloadError) as caught:
        parse(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    return caught.value.message


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://we@rd:user:p@ss:w/rd{SECRET}#1?%[x]@{PLACE}",
        f"postgresql://writer:p@ss/{SECRET}@{PLACE}",
        f"postgresql://writer:{SECRET}/w@{PLACE}",
        f"postgresql://writer:{SECRET}#w@{PLACE}",
        f"postgresql://writer:{SECRET}?w=1@{PLACE}",
        f"postgresql://writer:w?{SECRET}@{PLACE}",
        f"postgresql://writer:[{SECRET}@{PLACE}",
    ],
)
def test_raw_character_in_the_password_is_answered_by_percent_encoding(url: str) -> None:
    assert "Percent-encode" in refusal(url)


def test_encoded_address_is_read() -> None:
    address, password = parse_postgres_url(
        f"postgresql://we%40rd%3Auser:p%40ss%3Aw%2Frd%231%3F%25%5Bx%5D@{PLACE}", schema="stripe"
    )
    assert (address.user, password.get_secret_value()) == ("we@rd:user", "p@ss:w/rd#1?%[x]")
    assert (address.host, address.port, address.database) == ("127.0.0.1", 5432, "plain")


@given(st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=30))
def test_encoded_password_of_any_kind_is_read(password: str) -> None:
    encoded = quote(password, safe="")
    assert parse_postgres_url(f"postgresql://w:{encoded}@h/db", schema="s")[1].get_secret_value() == password


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("127.0.0.1:5432,127.0.0.1:5433/plain", "one host"),
        ("h:54x/plain", "port is no number"),
        ("h:70000/plain", "1 to 65535"),
        ("h/", "lacks the database"),
        ("/db", "lacks the host"),
        ("%2Fvar%2Frun/db", "no name and no IP address"),
        ("h/db?sslmode=maybe", "sslmode is none of"),
        ("h/db?SSLMODE=verify-full", "SSLMODE is not known here. Write sslmode in small letters"),
        ("h/db?sslcert=/x", "sslcert is not known here. Leave it out"),
        ("h/db?channel_binding=require", "channel_binding is not known"),
        ("h/db?sslmode=require&sslmode=disable", "sslmode twice"),
        ("h/db?sslrootcert=ca.pem", "sslrootcert can't be used here"),
        ("h/db?sslrootcert=/no/such/file", "sslrootcert can't be used here"),
        ("h/db?sslrootcert=/dev/zero", "sslrootcert can't be used here"),
        ("h/db?sslmode=require&sslrootcert=system", "write sslmode=verify-full"),
    ],
)
def test_part_that_is_wrong_or_not_used_is_named(rest: str, words: str) -> None:
    assert words in refusal(f"postgresql://writer:{SECRET}@{rest}")


@pytest.mark.parametrize(
    ("host", "mode"),
    [
        ("db.example.com", "require"),
        ("10.0.0.1", "require"),
        ("127.1", "require"),
        ("localhost", "prefer"),
        ("127.0.0.1", "prefer"),
        ("[::1]", "prefer"),
    ],
)
def test_tls_is_required_unless_no_network_lies_between(host: str, mode: str) -> None:
    assert parse(f"postgresql://w:w@{host}/db").sslmode == mode
    assert parse(f"postgresql://w:w@{host}/db?sslmode=disable").sslmode == "disable"


def test_certificates_of_a_file_are_kept_and_nothing_else_of_it(tmp_path: Path) -> None:
    authority = Authority()
    certificate, key = authority.issue(tmp_path, "h")
    both = tmp_path / "both.pem"
    both.write_text(key.read_text() + authority.ca + certificate.read_text())
    address = parse(f"postgresql://w:w@h/db?sslmode=verify-ca&sslrootcert={both}")
    assert address.ca
    assert address.ca.count("BEGIN CERTIFICATE") == 2
    assert "PRIVATE KEY" not in address.ca
    assert parse("postgresql://w:w@h/db", ca=authority.ca).sslmode == "verify-full"
    assert parse("postgresql://w:w@h/db?sslmode=verify-full&sslrootcert=system").ca is None


@pytest.mark.parametrize("ca", ["nonsense", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"])
def test_ca_that_is_none_is_refused(ca: str) -> None:
    with pytest.raises(PayloadError, match="no certificate in PEM") as caught:
        parse("postgresql://w:w@h/db", ca=ca)
    assert caught.value.field == "ca"


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"postgresql://u:{SECRET}/slash@h/db", "Percent-encode"),
        (f"postgresql://u:{SECRET}#hash@h/db", "Percent-encode"),
        (f"postgresql://u:x@h:{SECRET}/db", "port is no number"),
        (f"postgresql://u:{SECRET}@h:99999/db", "1 to 65535"),
        (f"mysql://u:{SECRET}@h/db", "start with postgresql://"),
        (SECRET, "start with postgresql://"),
    ],
)
def test_state_database_that_has_no_address_is_refused_at_the_start(url: str, words: str) -> None:
    environ = {
        "TILLSTREAM_DATABASE_URL": url,
        "TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
        "TILLSTREAM_ENCRYPTION_KEYS": make_encryption_key("k1"),
    }
    for refuse in (lambda: load(WorkerSettings, environ), lambda: state_sessions(url)):
        with pytest.raises(ConfigError) as caught:
            refuse()
        assert "TILLSTREAM_DATABASE_URL" in caught.value.message
        assert words in caught.value.message
        assert SECRET not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "url",
    [
        "postgresql:///tillstream?host=/var/run/postgresql",
        "postgres://u:p@[::1]:5432/db?sslmode=verify-full&sslrootcert=/etc/ca.pem",
        "postgresql://u:p@a:5432,b:5433/db?target_session_attrs=primary",
    ],
)
def test_state_database_may_be_named_in_all_ways_of_postgres(url: str) -> None:
    assert state_sessions(url)

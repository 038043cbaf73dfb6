"""Every setting of docs/configuration.md, given in the form that the page shows, reaches each service that reads it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.console.configuration_page import MODELS
from shared.consumers import make_broker
from shared.crypto import make_encryption_key
from shared.settings import PREFIX, load

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"
ROW = re.compile(r"^\| `(TILLSTREAM_\w+)` \| (?:required|–|`([^`]*)`) \| ([\w, ]+) \|", re.MULTILINE)
KEYS = f"{make_encryption_key('new')},{make_encryption_key('old')}"

# What is given, and what a service has then.
GIVEN: dict[str, tuple[str, Any]] = {
    "ENCRYPTION_KEYS": (KEYS, KEYS),
    "DATABASE_URL": ("postgresql://me:pass%40word@db:5432/tillstream?sslmode=require",) * 2,
    "DESTINATION_NETWORKS": ("10.0.0.0/8,!10.1.0.0/16",) * 2,
    "TRUSTED_PROXIES": ("10.0.0.0/8,fd00::/8",) * 2,
    "KAFKA_BOOTSTRAP_SERVERS": ("a:9092,b:9092", "a:9092,b:9092"),
    "TOPIC_PREFIX": ("shop.tillstream-1", "shop.tillstream-1"),
    "TOPIC_PARTITIONS": ("16", 16),
    "TOPIC_REPLICATION": ("3", 3),
    "HOST": ("0.0.0.0", "0.0.0.0"),
    "PORT": ("8080", 8080),
    "PROBE_PORT": ("8081", 8081),
    "INSTANCE": ("writer-0", "writer-0"),
    "ADDRESS_FILE": ("/run/tillstream/address.json", "/run/tillstream/address.json"),
    "LOG_LEVEL": ("debug", "debug"),
    "LOG_FORMAT": ("console", "console"),
    "RECONCILE_SECONDS": ("600", 600.0),
    "POLL_SECONDS": ("2.5", 2.5),
    "POLL_SECONDS_QUIET": ("30", 30.0),
    "PUBLIC_URL": ("https://hooks.example.com", "https://hooks.example.com"),
    "STRIPE_API_BASE": ("http://127.0.0.1:12111", "http://127.0.0.1:12111"),
    "STRIPE_BUDGET_SHARE": ("0.25", 0.25),
    "STRIPE_TIMEOUT_SECONDS": ("10", 10.0),
    "FETCHERS": ("4", 4),
    "DASHBOARD_URL": ("https://tillstream.example.com",) * 2,
    "SMTP_URL": ("smtps://me:pass%40word@mail.example.com:465",) * 2,
    "SMTP_FROM": ("tillstream@example.com",) * 2,
    "ALLOW_TEST_KEYS": ("true", True),
    "API_TOKEN": ("tst_0123456789abcdefghij", "tst_0123456789abcdefghij"),
    "WRITE_DEADLINE_SECONDS": ("1.5", 1.5),
    "PARKED_RECORDS_CAP": ("5000", 5000),
}
SHOWN = {name.removeprefix(PREFIX): (default, readers) for name, default, readers in ROW.findall(PAGE.read_text())}


def environ(**changes: str) -> dict[str, str]:
    return {PREFIX + name: text for name, (text, _) in GIVEN.items()} | {PREFIX + n: t for n, t in changes.items()}


def readers(name: str) -> list[str]:
    return list(MODELS) if SHOWN[name][1] == "all" else SHOWN[name][1].split(", ")


def test_every_setting_of_the_page_is_given_here() -> None:
    assert set(GIVEN) == set(SHOWN)


@pytest.mark.parametrize(("service", "name"), [(service, name) for name in SHOWN for service in readers(name)])
def test_what_is_given_is_what_the_service_has(service: str, name: str) -> None:
    found = getattr(load(MODELS[service], environ()), name.lower())
    assert (found.get_secret_value() if isinstance(found, SecretStr) else found) == GIVEN[name][1]


@pytest.mark.parametrize("name", [name for name, (default, _) in SHOWN.items() if default])
def test_default_that_the_page_shows_can_be_given(name: str) -> None:
    default = SHOWN[name][0]
    for service in readers(name):
        given = load(MODELS[service], environ(**{name: default}))
        left_out = load(MODELS[service], environ(**{name: ""}))
        assert getattr(given, name.lower()) == getattr(left_out, name.lower())


@pytest.mark.parametrize("service", MODELS)
@pytest.mark.parametrize("text", ["a:9092,b:9092", " a:9092 , b:9092 ", "a:9092,b:9092,"])
def test_list_of_brokers_is_a_list_for_every_service(service: str, text: str) -> None:
    settings = load(MODELS[service], environ(KAFKA_BOOTSTRAP_SERVERS=text))
    assert settings.kafka_servers == ["a:9092", "b:9092"]
    assert list(make_broker(settings).specification.url) == ["a:9092", "b:9092"]

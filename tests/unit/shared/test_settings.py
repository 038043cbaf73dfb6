"""Settings come from one prefix, and whatever is wrong is said at once, by the variable's name."""

from __future__ import annotations

import traceback

import pytest

from services.sync_worker.settings import WorkerSettings
from shared.crypto import make_encryption_key
from shared.errors import ConfigError
from shared.settings import load

PASSWORD = "hunter2"
COMPLETE = {
    "TILLSTREAM_DATABASE_URL": f"postgresql://me:{PASSWORD}@host/db",
    "TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS": "kafka:9092",
    "TILLSTREAM_ENCRYPTION_KEYS": make_encryption_key("k1"),
}


def test_what_is_not_given_has_its_default() -> None:
    settings = load(WorkerSettings, COMPLETE)
    assert settings.stripe_api_base == "https://api.stripe.com"
    assert settings.stripe_budget_share == 0.5
    assert settings.fetchers == 8


def test_values_are_read_by_their_variables() -> None:
    settings = load(WorkerSettings, COMPLETE | {"TILLSTREAM_FETCHERS": "3", "TILLSTREAM_POLL_SECONDS": "0.5"})
    assert (settings.fetchers, settings.poll_seconds) == (3, 0.5)


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert load(WorkerSettings, COMPLETE | {"TILLSTREAM_FETCHERS": ""}).fetchers == 8


def test_variables_of_others_are_left_alone() -> None:
    assert load(WorkerSettings, COMPLETE | {"TILLSTREAM_UNKNOWN": "1", "FETCHERS": "9"}).fetchers == 8


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        load(WorkerSettings, {"TILLSTREAM_FETCHERS": "many", "TILLSTREAM_LOG_LEVEL": "loud"})
    for name in ("DATABASE_URL is not set", "KAFKA_BOOTSTRAP_SERVERS is not set", "FETCHERS is wrong", "LOG_LEVEL is"):
        assert f"TILLSTREAM_{name}" in caught.value.message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("FETCHERS", "0"),
        ("FETCHERS", "65"),
        ("STRIPE_BUDGET_SHARE", "0"),
        ("STRIPE_BUDGET_SHARE", "1.5"),
        ("POLL_SECONDS", "-1"),
        ("TOPIC_PREFIX", "no spaces"),
        ("PORT", "65536"),
    ],
)
def test_a_value_out_of_its_range_is_refused(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=f"TILLSTREAM_{name} is wrong"):
        load(WorkerSettings, COMPLETE | {f"TILLSTREAM_{name}": value})


def test_encryption_keys_are_checked_at_the_start() -> None:
    with pytest.raises(ConfigError, match="TILLSTREAM_ENCRYPTION_KEYS"):
        load(WorkerSettings, COMPLETE | {"TILLSTREAM_ENCRYPTION_KEYS": "nonsense"})


def test_no_secret_is_shown_by_settings_or_by_what_is_wrong_with_them() -> None:
    given = {name: value for name, value in COMPLETE.items() if name != "TILLSTREAM_ENCRYPTION_KEYS"}
    with pytest.raises(ConfigError) as caught:
        load(WorkerSettings, given)
    assert PASSWORD not in "".join(traceback.format_exception(caught.value))
    assert PASSWORD not in repr(load(WorkerSettings, COMPLETE))

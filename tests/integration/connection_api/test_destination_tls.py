"""TLS to a destination, against a real server with a private CA, and against one that only wants the password."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from services.destination_writer.destinations.postgres import PostgresDestination
from shared.destinations import parse_postgres_url
from shared.errors import DestinationUnavailableError
from shared.networks import parse_networks
from shared.postgres_probe import ProbeStep, probe
from tests.authority import Authority
from tests.contracts import ACCOUNT
from tests.factories import make_winner
from tests.integration.connection_api.serving import execute, ready
from tests.pooler import pooled
from tests.unit.connection_api.serving import BEARER

PASSWORD = "CANARYpassword"


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


@pytest.fixture
async def secure_url(database_url: str, authority: Authority) -> AsyncIterator[str]:
    async with pooled(database_url, authority=authority, host="localhost") as url:
        yield url


async def last_step(url: str, *, ca: str | None = None) -> ProbeStep:
    return (await probe(*parse_postgres_url(url, schema="probed", ca=ca)))[-1]


@pytest.mark.parametrize("query", ["", "?sslmode=prefer", "?sslmode=allow", "?sslmode=require"])
async def test_certificate_is_not_checked_unless_asked_for(secure_url: str, query: str) -> None:
    step = await last_step(secure_url + query)
    assert step.passed, step


async def test_given_ca_passes_as_text_and_as_a_file(secure_url: str, authority: Authority, tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text(authority.ca)
    for mode in ("verify-ca", "verify-full"):
        assert (await last_step(f"{secure_url}?sslmode={mode}", ca=authority.ca)).passed
        assert (await last_step(f"{secure_url}?sslmode={mode}&sslrootcert={file}")).passed
    place = parse_postgres_url(secure_url, schema="copy", ca=authority.ca)
    assert place[0].sslmode == "verify-full"
    destination = PostgresDestination(*place)
    assert len(await destination.write(ACCOUNT, [make_winner()])) == 1
    await destination.close()


@pytest.mark.parametrize("query", ["?sslmode=verify-full", "?sslmode=verify-ca", "?sslrootcert=system"])
async def test_unknown_ca_is_named_and_not_the_server(secure_url: str, query: str) -> None:
    step = await last_step(secure_url + query)
    assert (step.name, step.code) == ("login", "destination_ca_unknown")
    assert "no CA is known here" in step.message


async def test_another_ca_does_not_pass(secure_url: str) -> None:
    for mode in ("require", "verify-ca", "verify-full"):
        step = await last_step(f"{secure_url}?sslmode={mode}", ca=Authority("another").ca)
        assert step.code == "destination_ca_unknown"
        assert "the given CA has not signed" in step.message


async def test_name_is_checked_by_verify_full_alone(secure_url: str, authority: Authority) -> None:
    by_number = secure_url.replace("@localhost:", "@127.0.0.1:")
    step = await last_step(f"{by_number}?sslmode=verify-full", ca=authority.ca)
    assert step.code == "destination_tls"
    assert "for another name than 127.0.0.1" in step.message
    assert (await last_step(f"{by_number}?sslmode=verify-ca", ca=authority.ca)).passed


async def test_ca_is_kept_shown_and_replaced(database_url: str, secure_url: str, authority: Authority) -> None:
    async with ready(database_url) as api:
        body = {"name": "Rows", "url": f"{secure_url}?sslmode=verify-full", "ca": authority.ca}
        made = await api.post("/v1/destinations", json=body, headers=BEARER)
        destination = await made.json()
        assert (made.status, destination["sslmode"]) == (201, "verify-full")
        assert destination["ca"] == authority.ca
        path = f"/v1/destinations/{destination['id']}"
        for change, status in (({"ca": Authority("another").ca}, 422), ({"ca": authority.ca}, 200)):
            assert (await api.patch(path, json=change, headers=BEARER)).status == status
        tried = await (await api.post(f"{path}/test", headers=BEARER)).json()
        assert tried["passed"]
        [row] = await execute(database_url, "SELECT settings, ca FROM destinations")
        assert row["ca"] == authority.ca
        assert "ca" not in json.loads(row["settings"])  # the release before reads them


async def test_password_may_stand_beside_the_address(database_url: str) -> None:
    parts = urlsplit(database_url)
    bare = parts._replace(netloc=f"{parts.username}@{parts.hostname}:{parts.port}").geturl()
    async with ready(database_url) as api:
        body = {"name": "Rows", "url": bare, "password": parts.password}
        made = await api.post("/v1/destinations", json=body, headers=BEARER)
        assert made.status == 201, await made.text()
        path = f"/v1/destinations/{(await made.json())['id']}"
        wrong = await api.patch(path, json={"password": "wrong"}, headers=BEARER)
        assert (wrong.status, (await wrong.json())["code"]) == (422, "destination_login_failed")
        assert (await api.patch(path, json={"password": parts.password}, headers=BEARER)).status == 200
        assert (await api.patch(path, json={}, headers=BEARER)).status == 422


@asynccontextmanager
async def rogue() -> AsyncIterator[tuple[int, bytearray]]:
    """Lend the port of a server that has no TLS and asks for the password in clear text, and what it was told."""
    told = bytearray()
    talks: list[asyncio.Task[None] | None] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())
        while data := await reader.read(1000):
            told.extend(data)
            is_tls_request = data == (8).to_bytes(4) + (80877103).to_bytes(4)
            writer.write(b"N" if is_tls_request else b"R" + (8).to_bytes(4) + (3).to_bytes(4))
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1], told
    await asyncio.gather(*filter(None, talks), return_exceptions=True)


@pytest.mark.parametrize("host", ["127.1", "0x7f.1"])  # whatever is no plain loopback needs TLS
async def test_server_without_tls_that_asks_for_the_password_gets_nothing(host: str) -> None:
    async with rogue() as (port, told):
        place = parse_postgres_url(f"postgresql://ada:{PASSWORD}@{host}:{port}/rows", schema="stripe")
        step = (await probe(*place))[-1]
        assert (step.name, step.code) == ("reachable", "destination_tls")
        assert "has no TLS" in step.message
        destination = PostgresDestination(*place)
        with pytest.raises(DestinationUnavailableError):
            await destination.prepare()
        await destination.close()
        assert b"CANARY" not in told
        assert b"ada" not in told


async def test_refused_network_answers_the_same_whatever_is_there(database_url: str) -> None:
    port = urlsplit(database_url).port
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    answers = set()
    networks = parse_networks("!127.0.0.0/8,!::1/128")
    async with rogue() as (rogue_port, told), silent:
        for host in ("127.0.0.1", "localhost", "127.1", "2130706433", "0.0.0.0", "169.254.169.254"):
            for there in (port, rogue_port, silent.sockets[0].getsockname()[1], 1):
                place = parse_postgres_url(f"postgresql://ada:{PASSWORD}@{host}:{there}/rows", schema="stripe")
                steps = await probe(*place, networks=networks)
                answers.update(steps)
                assert len(steps) == 1
                destination = PostgresDestination(*place, networks=networks)
                with pytest.raises(DestinationUnavailableError, match="may not be sent to the network"):
                    await destination.prepare()
                await destination.close()
        assert not told
    [answer] = answers
    assert answer.code == "destination_network_refused"


async def test_networks_of_the_setting_bind_the_api(database_url: str) -> None:
    async with ready(database_url, destination_networks="10.0.0.0/8") as api:
        tried = await (await api.post("/v1/destinations/test", json={"url": database_url}, headers=BEARER)).json()
        assert [step["code"] for step in tried["steps"]] == ["destination_network_refused"]
        body = {"name": "Rows", "url": database_url}
        made = await api.post("/v1/destinations", json=body, headers=BEARER)
        assert (made.status, (await made.json())["code"]) == (422, "destination_network_refused")

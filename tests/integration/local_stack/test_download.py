"""Jars from a Maven repository of the test's own."""

from __future__ import annotations

import datetime
import hashlib
import ipaddress
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from local_stack.jars import Jar, Progress, ensure_jars, write_lock
from shared.errors import ConfigError

BODY = b"not really a jar"
JAR = Jar("org.example", "hello", "1.0", hashlib.sha256(BODY).hexdigest())


class QuietHandler(SimpleHTTPRequestHandler):
    """Serves files and says nothing."""

    def log_message(self, *arguments: object) -> None:
        """Say nothing."""


@contextmanager
def serving(root: Path, context: ssl.SSLContext | None = None) -> Iterator[int]:
    """Serve a folder on a loopback port and lend its number."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(QuietHandler, directory=str(root))) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def write_certificate(folder: Path) -> Path:
    """Write a certificate for the loopback address, signed by itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Repository")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "repository.pem"
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    file.write_bytes(certificate.public_bytes(Encoding.PEM) + private)
    return file


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder that a Maven repository on a loopback port serves."""
    root = tmp_path / "repository"
    root.mkdir()
    with serving(root) as port:
        monkeypatch.setenv("TILLSTREAM_MAVEN_REPOSITORY", f"http://127.0.0.1:{port}/")
        yield root


@pytest.fixture
def own_certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The certificate, signed by itself, of a Maven repository that has the jar; no variable says who is trusted."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    certificate = write_certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    root = tmp_path / "repository"
    publish(root, BODY)
    with serving(root, context) as port:
        monkeypatch.setenv("TILLSTREAM_MAVEN_REPOSITORY", f"https://127.0.0.1:{port}/")
        yield certificate


@pytest.fixture
def lock(tmp_path: Path) -> Path:
    file = tmp_path / "kafka.lock"
    file.write_text(write_lock([JAR]))
    return file


def publish(repository: Path, body: bytes) -> None:
    file = repository / "org" / "example" / "hello" / "1.0" / "hello-1.0.jar"
    file.parent.mkdir(parents=True)
    file.write_bytes(body)


async def test_jar_is_downloaded_once_and_progress_is_told(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, BODY)
    told: list[Progress] = []

    paths = await ensure_jars(tmp_path, told.append, lock=lock)
    again = await ensure_jars(tmp_path, told.append, lock=lock)

    assert [path.read_bytes() for path in paths] == [BODY]
    assert again == paths
    assert [str(progress) for progress in told] == [
        "Downloading Apache Kafka 0/1",
        "Downloading Apache Kafka 1/1",
    ]


async def test_damaged_jar_in_the_cache_is_replaced(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, BODY)
    (tmp_path / "jars").mkdir()
    (tmp_path / "jars" / JAR.file_name).write_bytes(b"half of a j")

    [path] = await ensure_jars(tmp_path, lambda progress: None, lock=lock)

    assert path.read_bytes() == BODY


async def test_changed_jar_is_refused_and_not_kept(repository: Path, lock: Path, tmp_path: Path) -> None:
    publish(repository, b"something else")

    with pytest.raises(ConfigError, match=r"org.example:hello:1.0 is not the file that was expected"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)
    assert list((tmp_path / "jars").iterdir()) == []


async def test_repository_without_the_jar_is_said_with_the_fix(repository: Path, lock: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no org.example:hello:1.0; set TILLSTREAM_MAVEN_REPOSITORY"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)


async def test_repository_that_does_not_answer_is_said_with_the_fix(
    lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TILLSTREAM_MAVEN_REPOSITORY", "http://127.0.0.1:1/")

    with pytest.raises(ConfigError, match=r"does not answer. Check the network and its proxy"):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)


@pytest.mark.usefixtures("own_certificate")
async def test_certificate_that_is_not_trusted_is_said_with_the_fix(lock: Path, tmp_path: Path) -> None:
    says = (
        r"is not trusted \(self.signed certificate\)\. Set SSL_CERT_FILE .* to the file of your certificate authority"
    )
    with pytest.raises(ConfigError, match=says):
        await ensure_jars(tmp_path, lambda progress: None, lock=lock)


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
async def test_own_certificate_authority_is_trusted(
    own_certificate: Path, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    monkeypatch.setenv(variable, str(own_certificate))

    [path] = await ensure_jars(tmp_path, lambda progress: None, lock=lock)

    assert path.read_bytes() == BODY

"""Downloads the broker's jars by their Maven coordinates.

Run as `python -m local_stack.download FOLDER LOCK ASIDE`. Each jar is downloaded into ASIDE, checked, and
moved into FOLDER, so that no half of a jar is ever found there and several stacks can download at once. A
line is printed for each; the last line of a failure is a sentence for people.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import requests
from jgo.maven import Artifact, MavenContext

from local_stack.jars import DOWNLOADED, Jar, read_lock
from local_stack.storage import translated_disk_errors
from shared.errors import ConfigError

AT_ONCE = 4
TIMEOUT = 20  # seconds without a byte
FIX = (
    "set TILLSTREAM_MAVEN_REPOSITORY to the address of a mirror, or TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS "
    "to a Kafka of yours."
)


def maven(folder: Path, environ: Mapping[str, str]) -> MavenContext:
    """Return access to Maven Central, or to `TILLSTREAM_MAVEN_REPOSITORY`, that downloads into `folder`."""
    mirror = environ.get("TILLSTREAM_MAVEN_REPOSITORY")
    repositories = {"mirror": mirror.rstrip("/")} if mirror else None
    return MavenContext(repo_cache=folder, local_repos=[], remote_repos=repositories, timeout=TIMEOUT)


def trust(environ: MutableMapping[str, str]) -> None:
    """Have `SSL_CERT_FILE` say who is trusted, as for Python itself, unless a variable of `requests` says so."""
    bundle = environ.get("SSL_CERT_FILE")
    if bundle and Path(bundle).is_file() and not environ.get("CURL_CA_BUNDLE"):
        environ.setdefault("REQUESTS_CA_BUNDLE", bundle)


def artifact(context: MavenContext, jar: Jar) -> Artifact:
    """Return what `jar` is called in `context`."""
    return context.project(jar.group, jar.artifact).at_version(jar.version).artifact()


def download_all(folder: Path, jars: list[Jar], context: MavenContext) -> None:
    """Put all `jars` that are missing or broken into `folder`, several at once.

    Raises ConfigError when the repository can't be reached or has other jars than the lock file says.
    """
    missing = [jar for jar in jars if not jar.is_intact(folder)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        tasks = [threads.submit(_download, context, jar, folder) for jar in missing]
        try:
            for task in tasks:
                task.result()
        finally:
            threads.shutdown(cancel_futures=True)


def _download(context: MavenContext, jar: Jar, folder: Path) -> None:
    with translated_disk_errors(folder):
        try:
            path = artifact(context, jar).resolve()
        except requests.RequestException as error:
            raise _unreachable(error) from error
        except RuntimeError as error:
            raise ConfigError(
                f"Apache Kafka can't be downloaded: the Maven repository has no {jar.coordinates}; {FIX}"
            ) from error
        if not jar.is_intact(path.parent):
            raise ConfigError(
                f"{jar.coordinates} is not the file that was expected (its sha256 differs): the download was "
                f"changed on its way. Start again; if it stays so, {FIX}"
            )
        path.replace(folder / jar.file_name)
    sys.stdout.write(f"{DOWNLOADED.decode()}{jar.file_name}\n")
    sys.stdout.flush()


def _unreachable(error: requests.RequestException) -> ConfigError:
    """Return why there was no answer, and what can be done about it."""
    if refused := _refused_certificate(error):
        return ConfigError(
            "Apache Kafka can't be downloaded: the certificate of the Maven repository is not trusted "
            f"({refused.verify_message}). Set SSL_CERT_FILE (or REQUESTS_CA_BUNDLE, where that is set) to the file "
            f"of your certificate authority and start again; or {FIX}"
        )
    return ConfigError(
        "Apache Kafka can't be downloaded: the Maven repository does not answer. Check the network "
        f"and its proxy and start again; or {FIX}"
    )


def _refused_certificate(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return the refusal that `error` wraps: requests keeps it in its arguments, urllib3 as a reason."""
    cause: object = error
    while isinstance(cause, BaseException) and not isinstance(cause, ssl.SSLCertVerificationError):
        cause = getattr(cause, "reason", None) or next(iter(cause.args), None)
    return cause if isinstance(cause, ssl.SSLCertVerificationError) else None


def main(arguments: list[str]) -> None:
    """Take the two folders and the lock file; exit 1 with a sentence when a jar can't be had."""
    trust(os.environ)
    folder, lock, aside = (Path(argument) for argument in arguments)
    try:
        download_all(folder, read_lock(lock.read_text()), maven(aside, os.environ))
    except ConfigError as error:
        sys.exit(error.message)


if __name__ == "__main__":
    main(sys.argv[1:])

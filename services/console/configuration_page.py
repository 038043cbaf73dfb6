"""Renders docs/configuration.md from the settings of the services: `python -m services.console.configuration_page`."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from pydantic import SecretStr
from pydantic.fields import FieldInfo

from services.connection_api.settings import ApiSettings
from services.destination_writer.settings import WriterSettings
from services.sync_worker.settings import WorkerSettings
from services.webhook_gateway.settings import GatewaySettings
from shared.settings import PREFIX, Settings

MODELS: Mapping[str, type[Settings]] = {
    "webhook_gateway": GatewaySettings,
    "sync_worker": WorkerSettings,
    "connection_api": ApiSettings,
    "destination_writer": WriterSettings,
}
LOCAL = (
    (
        "TILLSTREAM_HOME",
        "Folder of a stack on one machine: data, logs, secrets. `.tillstream/run` or `.tillstream/demo`.",
    ),
    ("TILLSTREAM_CACHE", "Folder for what is downloaded once, such as Kafka's jars."),
    ("TILLSTREAM_MAVEN_REPOSITORY", "Mirror from which Kafka's jars come."),
    ("SSL_CERT_FILE", "File of the certificate authorities that are trusted when Kafka's jars are downloaded."),
    ("TILLSTREAM_API_URL", "Address of the API that the command line speaks to."),
    ("TILLSTREAM_API_TOKEN", "Token of the command line."),
    ("TILLSTREAM_SIMULATOR_URL", "Address of the simulator that `tillstream simulator` speaks to."),
)
HEAD = """# Configuration

Every setting is an environment variable. A service that lacks one, or finds a wrong one, says so by name and exits \
with code 2. A variable means the same in every service.

| variable | default | read by | meaning |
|---|---|---|---|
"""
LOCAL_HEAD = """
## On one machine

`make run` and `make demo` set the above themselves; give `TILLSTREAM_DATABASE_URL` or \
`TILLSTREAM_KAFKA_BOOTSTRAP_SERVERS` to use a Postgres or a Kafka of yours instead.

| variable | meaning |
|---|---|
"""


def render_page(models: Mapping[str, type[Settings]]) -> str:
    """Return the page: a row per variable, in the order in which the models declare them."""
    fields: dict[str, FieldInfo] = {}
    readers: dict[str, list[str]] = {}
    for service, model in models.items():
        for name, field in model.model_fields.items():
            fields.setdefault(name, field)
            readers.setdefault(name, []).append(service)
    rows = [_row(name, field, readers[name], everyone=len(models)) for name, field in fields.items()]
    local = [f"| `{name}` | {meaning} |" for name, meaning in LOCAL]
    return HEAD + "\n".join(rows) + "\n" + LOCAL_HEAD + "\n".join(local) + "\n"


def _row(name: str, field: FieldInfo, readers: list[str], *, everyone: int) -> str:
    who = "all" if len(readers) == everyone else ", ".join(readers)
    return f"| `{PREFIX}{name.upper()}` | {_default(field)} | {who} | {field.description} |"


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default is None or isinstance(field.default, SecretStr):
        return "–"
    return f"`{str(field.default).lower() if isinstance(field.default, bool) else field.default}`"


if __name__ == "__main__":
    sys.stdout.write(render_page(MODELS))

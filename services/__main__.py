"""The only entry point: `tillstream <service>` runs a service, every other sub-command is the command line's.

Only the module that runs is imported.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from types import TracebackType

from shared.errors import ConfigError

SERVICES = {
    "webhook-gateway": "services.webhook_gateway.app",
    "sync-worker": "services.sync_worker.app",
    "connection-api": "services.connection_api.app",
    "destination-writer": "services.destination_writer.app",
}
WRONG_USE = 2  # exit code


def main() -> None:
    """Run what the command line names; a setting or argument that can't be used ends it with exit code 2."""
    sys.excepthook = show_masked
    try:
        run(sys.argv[1:], os.environ)
    except ConfigError as error:
        sys.stderr.write(f"tillstream: {error.message}\n")
        sys.exit(WRONG_USE)


def show_masked(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write the traceback of what nobody has caught, with everything in it masked that looks like a secret."""
    from shared.log import mask

    sys.stderr.write(mask("".join(traceback.format_exception(kind, error, trace))))


def run(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Run a service until it is told to stop, or a command of the command line.

    Raises `ConfigError`; the command line raises `SystemExit` with its exit code.
    """
    name = arguments[0] if arguments else ""
    if name not in SERVICES:
        import_module("services.console.app").cli()
        return
    if len(arguments) > 1:
        raise ConfigError(f"`tillstream {name}` takes no arguments; it reads TILLSTREAM_… variables.")
    import uvloop

    uvloop.run(import_module(SERVICES[name]).main(environ))


if __name__ == "__main__":
    main()

"""A service of the product as a process that can be made to die at a named point, or to be wrong in a named way.

`python -m tests.chaos.service SERVICE` is what the harness runs instead of `tillstream SERVICE`. What it changes, it
changes in this process alone: the product's modules know nothing of it.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from services.__main__ import run
from tests.chaos.crashes import Traps
from tests.chaos.healing import hold_back
from tests.chaos.mutations import MUTATIONS

TRAPS = "CHAOS_TRAPS"  # variable: the folder in which a file arms a crash point
MUTATION = "mutation"  # file in the same folder: the name of the mutation
HEALING = "healing"  # file in the same folder: the comparisons that follow an outage are made


def main() -> None:
    """Set the traps, make the mutation, and run the service."""
    service, folder = sys.argv[1], Path(os.environ[TRAPS])
    Traps(folder, service).set()
    if service == "sync-worker" and not (folder / HEALING).exists():
        hold_back()
    named = folder / MUTATION
    if named.exists() and (mutation := MUTATIONS[named.read_text()]).service == service:
        mutation.make()
    run(sys.argv[1:], os.environ)


if __name__ == "__main__":
    main()

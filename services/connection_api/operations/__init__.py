"""The REST API as one table: `routes` registers from it and `openapi` describes from it, so they can't diverge."""

from __future__ import annotations

from services.connection_api.operations.access import ACCESS
from services.connection_api.operations.connections import CONNECTIONS
from services.connection_api.operations.destinations import DESTINATIONS
from services.connection_api.operations.events import EVENTS
from services.connection_api.operations.operation import OPENAPI_PATH, Operation
from services.connection_api.operations.syncs import SYNCS

GROUPS: tuple[tuple[str, tuple[Operation, ...]], ...] = (
    ("Destinations", DESTINATIONS),
    ("Connections", CONNECTIONS),
    ("Syncs", SYNCS),
    ("Events", EVENTS),
    ("Access and audit", ACCESS),
)
OPERATIONS: tuple[Operation, ...] = tuple(operation for _, operations in GROUPS for operation in operations)

__all__ = ["GROUPS", "OPENAPI_PATH", "OPERATIONS", "Operation"]

"""The REST API as one table: `routes` registers from it and `openapi` describes from it, so they can't diverge."""

from __future__ import annotations

from services.connection_api.operations.access import ACCESS
from services.connection_api.operations.connections import CONNECTIONS
from services.connection_api.operations.destinations import DESTINATIONS
from services.connection_api.operations.events import EVENTS
from services.connection_api.operations.operation import OPENAPI_PATH, Operation
from services.connection_api.operations.syncs import SYNCS

OPERATIONS: tuple[Operation, ...] = (*DESTINATIONS, *CONNECTIONS, *SYNCS, *EVENTS, *ACCESS)

__all__ = ["OPENAPI_PATH", "OPERATIONS", "Operation"]

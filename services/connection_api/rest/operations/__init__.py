"""The REST API as one table: `routes` registers from it and `openapi` describes from it, so they can't diverge."""

from __future__ import annotations

from services.connection_api.rest.operations.access import ACCESS
from services.connection_api.rest.operations.alarms import ALARMS
from services.connection_api.rest.operations.connections import CONNECTIONS
from services.connection_api.rest.operations.data import DATA
from services.connection_api.rest.operations.dead_letters import DEAD_LETTERS
from services.connection_api.rest.operations.destinations import DESTINATIONS
from services.connection_api.rest.operations.events import EVENTS
from services.connection_api.rest.operations.installation import INSTALLATION
from services.connection_api.rest.operations.operation import OPENAPI_PATH, Operation
from services.connection_api.rest.operations.questions import QUESTIONS
from services.connection_api.rest.operations.syncs import SYNCS

GROUPS: tuple[tuple[str, tuple[Operation, ...]], ...] = (
    ("Destinations", DESTINATIONS),
    ("Connections", CONNECTIONS),
    ("Questions", QUESTIONS),
    ("Syncs", SYNCS),
    ("Events", EVENTS),
    ("Data", DATA),
    ("Dead letters", DEAD_LETTERS),
    ("Alarms", ALARMS),
    ("Settings", INSTALLATION),
    ("Access and audit", ACCESS),
)
OPERATIONS: tuple[Operation, ...] = tuple(operation for _, operations in GROUPS for operation in operations)

__all__ = ["GROUPS", "OPENAPI_PATH", "OPERATIONS", "Operation"]

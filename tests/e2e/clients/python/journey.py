"""A connection's life by the Python client that openapi-python-client makes of the API's description.

`tests/e2e/test_clients.py` runs it where the client `tillstream_client` can be imported.
"""

from __future__ import annotations

import os
import time
from datetime import UTC, date, datetime
from typing import Any

from tillstream_client import AuthenticatedClient
from tillstream_client.api.default import (
    create_connection,
    create_destination,
    create_sync,
    get_connection,
    get_removal,
    get_sync,
    list_all_syncs,
    list_connections,
    remove_connection,
    verify_connection,
)
from tillstream_client.models import (
    NewComparison,
    NewConnectionBody,
    NewDestination,
    NewRemoval,
    NewSync,
    Problem,
    Status,
)

PATIENCE = 300.0  # seconds for one step
client = AuthenticatedClient(base_url=os.environ["API_URL"], token=os.environ["API_TOKEN"], timeout=60)


def ask(operation: Any, *arguments: Any, **named: Any) -> Any:
    """Return the answer as a model; end with the sentence of a refusal."""
    answer = operation.sync(*arguments, client=client, **named)
    if answer is None or isinstance(answer, Problem):
        raise SystemExit(f"{operation.__name__}: {answer}")
    return answer


def until_ended(sync_id: str) -> Any:
    deadline = time.monotonic() + PATIENCE
    while (sync := ask(get_sync, sync_id)).status in (Status.QUEUED, Status.RUNNING):
        if time.monotonic() > deadline:
            raise SystemExit(f"{sync_id} has not ended: {sync}")
        time.sleep(0.2)
    if sync.status is not Status.SUCCEEDED:
        raise SystemExit(f"{sync_id} has not succeeded: {sync}")
    return sync


place = NewDestination(name="Rows", url=os.environ["DATABASE_URL"], schema=os.environ["SCHEMA"])
destination = ask(create_destination, body=place)
wanted = NewConnectionBody(
    api_key=os.environ["STRIPE_KEY"], destination_ids=[destination.id], start_date=date(2020, 1, 31)
)
connection = ask(create_connection, body=wanted, idempotency_key="once")
if ask(create_connection, body=wanted, idempotency_key="once").id != connection.id:
    raise SystemExit("The same request was carried out twice.")
if connection.start_date != datetime(2020, 1, 31, tzinfo=UTC):
    raise SystemExit(f"The start date is {connection.start_date!r}.")
until_ended(ask(get_connection, connection.id).backfill.id)
if [one.id for one in ask(list_connections).data] != [connection.id]:
    raise SystemExit("The list of connections is another.")
until_ended(ask(create_sync, connection.id, body=NewSync(resources=["customer"])).id)
syncs = ask(list_all_syncs, since=date(2020, 1, 31), status=Status.SUCCEEDED).data
if not {"backfill", "manual"} <= {sync.kind.value for sync in syncs}:
    raise SystemExit(f"The list of syncs is {syncs}.")
verified = until_ended(ask(verify_connection, connection.id, body=NewComparison(full=True)).id)
if sum(line.compared for line in verified.comparison) == 0 or any(line.different for line in verified.comparison):
    raise SystemExit(f"Verify has found {verified.comparison}.")
consent = NewRemoval(account_name=connection.account_name, delete_rows=True)
removal = ask(remove_connection, connection.id, body=consent)
end = time.monotonic() + PATIENCE
while not (removal := ask(get_removal, removal.id)).is_done:
    if time.monotonic() > end:
        raise SystemExit(f"The removal has not ended: {removal}")
    time.sleep(0.2)
if ask(list_connections).data:
    raise SystemExit("The connection is still listed.")

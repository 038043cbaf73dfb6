"""Whatever is sent, the API answers for the caller's fault or its own success, never with an error of ours."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from yarl import URL

from services.connection_api.rest.operations import OPERATIONS, Operation
from tests.integration.connection_api.serving import ready
from tests.unit.connection_api.serving import BEARER

EXAMPLES = 400
CHECK = settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))

texts = st.one_of(st.text(max_size=40), st.sampled_from(["con_1", "dst_1", "2025-01-01", "\x00", "🦆", "9" * 400]))
values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=6,
)


@st.composite
def requests(draw: st.DrawFn) -> tuple[Operation, str, dict[str, str], Any]:
    """Return an operation with an id, a query and a body of its own field names, and any values."""
    operation = draw(st.sampled_from(OPERATIONS))
    body = operation.body
    names = [field.alias or name for name, field in body.model_fields.items()] if body else ["x"]
    queries = list(operation.query.model_fields) if operation.query else ["x"]
    sent = draw(st.one_of(values, st.dictionaries(st.sampled_from(names), values)))
    return operation, draw(texts), draw(st.dictionaries(st.sampled_from(queries), texts, max_size=2)), sent


async def test_no_input_makes_an_error_of_ours(database_url: str) -> None:
    drawn: list[tuple[Operation, str, dict[str, str], Any]] = []

    @CHECK
    @given(requests())
    def collect(request: tuple[Operation, str, dict[str, str], Any]) -> None:
        drawn.append(request)

    collect()
    async with ready(database_url) as api:
        for operation, text, query, body in drawn:
            url = URL(operation.path.replace("{id}", quote(text, safe="") or "x"), encoded=True)
            answer = await api.request(operation.method, url, params=query, json=body, headers=BEARER)
            assert answer.status < 500, (operation.name, text, query, body, await answer.text())

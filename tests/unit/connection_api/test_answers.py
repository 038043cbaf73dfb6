"""What is kept is answered as it is: no bound of an answer may turn a list with one odd row into an error."""

from __future__ import annotations

from collections.abc import Iterator

from annotated_types import BaseMetadata
from pydantic.fields import FieldInfo

from services.connection_api.rest import models
from services.connection_api.rest.models import Answer

BOUNDED_WHERE_IT_IS_MADE = {"share"}


def fields_of(answer: type[Answer]) -> Iterator[tuple[str, str, FieldInfo]]:
    for one in answer.__subclasses__():
        yield from ((one.__name__, name, field) for name, field in one.model_fields.items())
        yield from fields_of(one)


def test_no_answer_bounds_what_is_kept() -> None:
    assert models
    bounded = {
        f"{model}.{name}"
        for model, name, field in fields_of(Answer)
        if any(isinstance(rule, BaseMetadata) for rule in field.metadata)
    }
    assert {name.partition(".")[2] for name in bounded} <= BOUNDED_WHERE_IT_IS_MADE, bounded

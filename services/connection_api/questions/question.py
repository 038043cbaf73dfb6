"""A ready question: a file of SQL that begins with its title, its sentence and what it needs.

What stands in braces is filled in for one connection: `{charges}` a table in the destination's schema, `{ours c}` the
rows of this account and mode that are not deleted, `{unit c.currency}` what an amount has to be multiplied with,
`{zone}` the zone whose days are meant. The result needs no parameters, so that what is copied is what is run.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from shared.catalogue import BY_NAME
from shared.postgres_money import unit_sql
from shared.postgres_tables import ROW_TABLES, WRITTEN_WITH, literal, quote

FOLDER = Path(__file__).parent
# In the order in which they are shown.
NAMES = ("revenue_by_day", "failed_payments", "open_invoices", "mrr", "who_cancelled", "fees_and_net_by_payout")
HEADER = re.compile(r"-- (title|sentence|needs|also|columns): (.+)")
HOLE = re.compile(r"\{(\w+)(?: ([^{}]+))?\}")
HARMLESS = re.compile(r"[\w+/.-]+")  # what an id of an account and the name of a zone consist of


@dataclass(frozen=True, slots=True)
class Whose:
    """For whom a question is asked: where the rows lie, which of them are meant, and whose days."""

    schema: str
    account_id: str
    livemode: bool
    zone: str = "UTC"


class Kind(StrEnum):
    """What a column of an answer holds."""

    TEXT = "text"
    AMOUNT = "amount"  # in major units, with as many digits as the currency has
    NUMBER = "number"
    TIME = "time"
    DATE = "date"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an answer."""

    name: str
    kind: Kind

    @property
    def label(self) -> str:
        """How people read it."""
        return self.name.replace("_", " ").capitalize().replace("Mrr", "MRR")


@dataclass(frozen=True, slots=True)
class Question:
    """A question that is ready to be asked."""

    name: str
    title: str
    sentence: str
    needs: tuple[str, ...]  # resources without which there is no answer
    columns: tuple[Column, ...]
    template: str

    @property
    def notes(self) -> tuple[str, ...]:
        """What else has to be known: the comment with which the statement begins, a sentence each."""
        lines = [line[3:] for line in self.template.splitlines() if line.startswith("-- ")]
        return tuple(f"{sentence.rstrip('.')}." for sentence in " ".join(lines).split(". ") if sentence)

    def sql(self, whose: Whose) -> str:
        """Return the statement, whole; raise `ValueError` for an account or a zone that can't be one."""
        return f"-- {self.title}. {self.sentence}\n" + HOLE.sub(
            lambda hole: _fill(hole[1], hole[2] or "", whose), self.template
        )


def load(name: str) -> Question:
    """Return the question in the file of this name; raise `ValueError` if it is not as it has to be."""
    return parse(name, (FOLDER / f"{name}.sql").read_text("utf-8"))


def parse(name: str, text: str) -> Question:
    """Return the question of a file's text; raise `ValueError` if it is not as it has to be."""
    lines = text.splitlines()
    told: dict[str, str] = {}
    while lines and (match := HEADER.fullmatch(lines[0])):
        told[match[1]] = match[2]
        lines.pop(0)
    if missing := {"title", "sentence", "needs", "columns"} - told.keys():
        raise ValueError(f"{name}.sql has no {', '.join(sorted(missing))} in its first lines.")
    needs, also = _words(told["needs"]), _words(told.get("also", ""))
    template = "\n".join(lines)
    _check(name, template, {*needs, *also})
    pairs = (column.partition(" ") for column in _words(told["columns"]))
    columns = tuple(Column(column, Kind(kind)) for column, _, kind in pairs)
    return Question(name, told["title"], told["sentence"], needs, columns, template)


def _words(text: str) -> tuple[str, ...]:
    return tuple(word for word in re.split(r",\s*", text) if word)


def _check(name: str, template: str, resources: set[str]) -> None:
    """Raise `ValueError` unless every table is one that is told, and has its rows narrowed to one account."""
    if unknown := resources - BY_NAME.keys():
        raise ValueError(f"{name}.sql names resources that there are not: {', '.join(sorted(unknown))}.")
    known = {table for table, parent in WRITTEN_WITH.items() if parent in {BY_NAME[one].table for one in resources}}
    read = re.findall(r"\{(\w+)\} AS (\w+)", template)
    tables = [hole for hole, _ in HOLE.findall(template) if hole not in _FILLED]
    if [table for table, _ in read] != tables or not set(tables) <= known:
        raise ValueError(f"{name}.sql reads tables that its first lines don't tell, or without an alias.")
    if sorted(alias for _, alias in read) != sorted(alias for hole, alias in HOLE.findall(template) if hole == "ours"):
        raise ValueError(f"{name}.sql does not narrow each table to the rows of one account.")


def _fill(hole: str, rest: str, whose: Whose) -> str:
    match hole:
        case "zone":
            return _literal(whose.zone)
        case "ours":
            mode = "" if whose.livemode else "NOT "
            return f"{rest}._account = {_literal(whose.account_id)} AND {mode}{rest}._livemode AND NOT {rest}._deleted"
        case "unit":
            return unit_sql(rest)
    return f"{quote(whose.schema)}.{quote(ROW_TABLES[hole].name)}"


_FILLED = frozenset({"zone", "ours", "unit"})


def _literal(text: str) -> str:
    """Return the text as SQL, whatever the server makes of a backslash."""
    if not HARMLESS.fullmatch(text):
        raise ValueError("This is no account and no zone.")
    return literal(text)


def load_all() -> Mapping[str, Question]:
    """Return all questions by name, in the order in which they are shown; raise `ValueError` if one is wrong."""
    return {name: load(name) for name in NAMES}


def missing(question: Question, resources: Sequence[str]) -> tuple[str, ...]:
    """Return which resources have to be synced first."""
    return tuple(one for one in question.needs if one not in resources)

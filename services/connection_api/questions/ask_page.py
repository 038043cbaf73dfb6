"""The questions as a page: `python -m services.connection_api.questions.ask_page > docs/ask.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from services.connection_api.questions.question import Question, load_all
from shared.postgres_views import VIEWS

INTRODUCTION = """\
# Ask something

Six questions are ready to be asked about an account's rows, without a tool and without SQL of your own.
This page is made from `services/connection_api/questions`; change the files there, then run
`python -m services.connection_api.questions.ask_page > docs/ask.md`.

- **On the dashboard**: the tab *Ask* of an account. *Run* shows the answer, *Copy SQL* takes the statement with you.
- **By command**: `tillstream ask` lists the questions, `tillstream ask mrr` answers one, `--sql` prints its statement.
- **By REST**: `GET /v1/connections/{id}/questions`, `…/{name}` with the SQL, `…/{name}/answer` with the rows.

Answers come from the destination, by a session that can't write, within two seconds and with at most 100 rows.
The SQL needs no parameters: account, mode and schema stand in it. It leaves out what is deleted at Stripe.
Amounts are in major units (`12.34 USD`, `500 JPY`, `1.234 KWD`), and currencies are never added up.
A question whose resources the account does not sync says which to sync.

*Connect a BI tool*, on the same tab, has the SQL that makes a user who can only read, and the address to connect to.

## Views

Beside each table with amounts the writer makes a view, and keeps it: `v_charges` beside `charges`.

- It has the table's typed columns under their own names. Amounts are in major units, exact, with their currency.
- Times are timestamps, in the table and in the view.
- It leaves out `data`, whose amounts are in the smallest unit, and rows that are deleted at Stripe.
- An amount whose currency is not known is empty.
- Two currencies are never added up by the view; group by the currency in your own SQL.
- On Postgres 15 and newer whoever reads a view needs SELECT on its table too, and row-level security holds.

Rows never wait for a view. Where the writer may not make one, or something else has its name, the tab *Ask* says so
and what to do. A view that you build on ours keeps ours from being made anew at an upgrade: drop yours, and make it
again later. Nothing of yours is ever dropped. To drop a table of ours by hand, drop its view first.

{views}

## Questions
"""


def render_page(questions: Iterable[Question]) -> str:
    """The page about the questions in Markdown, ending in a newline."""
    lines = [INTRODUCTION.replace("{views}", ", ".join(f"`{one.name}`" for one in VIEWS.values())).rstrip("\n")]
    for question in questions:
        lines += ["", *_section(question)]
    return "\n".join(lines) + "\n"


def _section(question: Question) -> Iterator[str]:
    yield f"### {question.title}"
    yield ""
    yield question.sentence
    yield ""
    yield f"- **Name:** `{question.name}`"
    yield f"- **Needs:** {', '.join(f'`{one}`' for one in question.needs)}"
    yield f"- **Columns:** {', '.join(f'`{one.name}` {one.kind}' for one in question.columns)}"
    for note in question.notes:
        yield f"- {note}"


if __name__ == "__main__":
    sys.stdout.write(render_page(load_all().values()))

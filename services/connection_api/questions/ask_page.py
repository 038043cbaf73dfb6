"""The questions as a page: `python -m services.connection_api.questions.ask_page > docs/ask.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator

from services.connection_api.questions.question import Question, load_all

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

## Questions
"""


def render_page(questions: Iterable[Question]) -> str:
    """The page about the questions in Markdown, ending in a newline."""
    lines = [INTRODUCTION.rstrip("\n")]
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

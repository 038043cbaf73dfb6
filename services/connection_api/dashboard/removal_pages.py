"""The pages about removals: their list, and each one's progress, which becomes its receipt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from aiohttp import web

from services.connection_api.access.auth import actor_of
from services.connection_api.dashboard.dialogs import Dialogs, go
from services.connection_api.dashboard.filters import ListFilter, address, read_filter
from services.connection_api.dashboard.pages import Pages
from services.connection_api.dashboard.sync_pages import OVER, PAGE_SIZE
from services.connection_api.dashboard.sync_views import Word
from services.connection_api.pace import duration_text
from services.connection_api.rest.requests import make_cursor, read_cursor, read_id, read_time
from services.connection_api.state import State
from services.connection_api.status import Tone
from shared.delays import Delay, Work
from shared.errors import AppError
from shared.http import Access, add_route
from shared.removals import DoneStep, Removal, RemovalStore, Step

DONE = Word("Done", Tone.GOOD, "live")
UNFINISHED = Word("Finish by hand", Tone.WARNING, "action-required")
RUNNING = Word("Running", Tone.BUSY, "sync")
WAITING = Word("Waiting", Tone.WARNING, "delayed")
TO_COME = Word("To come", Tone.QUIET, "setting-up")
KEPT = Word("Kept", Tone.QUIET, "unavailable")


@dataclass(frozen=True, slots=True)
class StepWords:
    """What a step takes away."""

    title: str
    promise: str


STEPS: Mapping[Step, StepWords] = {
    Step.ENDPOINT: StepWords("Webhook endpoint at Stripe", "Without it Stripe sends nothing more."),
    Step.KEY: StepWords("API key and signing secrets", "Without them nothing can call Stripe or sign in its name."),
    Step.ROWS: StepWords("Rows in the destinations", "Only this connection's; tables and schemas stay."),
    Step.HISTORY: StepWords("History, and the connection itself", "Syncs, events, counts and records that waited."),
}
ROWS_STAY = "They stay in the destinations, as it was chosen."


@dataclass(frozen=True, slots=True)
class StepView:
    """A step of a removal, as it is now."""

    step: Step
    word: Word
    done: DoneStep | None
    cause: str | None
    is_kept: bool

    @property
    def title(self) -> str:
        """What it takes away."""
        return STEPS[self.step].title

    @property
    def promise(self) -> str:
        """What it means."""
        return ROWS_STAY if self.is_kept else STEPS[self.step].promise

    @property
    def counts(self) -> Sequence[tuple[str, int]]:
        """What was taken away, and how many of each; the largest first."""
        counts = self.done.counts if self.done else {}
        return sorted(((name.replace("_", " "), n) for name, n in counts.items()), key=lambda one: (-one[1], one[0]))


@dataclass(frozen=True, slots=True)
class RemovalView:
    """A removal as its page and the list show it."""

    removal: Removal
    waits: Sequence[Delay] = ()

    @property
    def may_leave_rows(self) -> bool:
        """Tell whether the rows that wait can be given up."""
        return not self.removal.is_done and any(one.work is Work.CLEANUP for one in self.waits)

    @property
    def word(self) -> Word:
        """How far it is."""
        if not self.removal.is_done:
            return WAITING if self.removal.cause else RUNNING
        return UNFINISHED if self.notes else DONE

    @property
    def steps(self) -> Sequence[StepView]:
        """All steps, in the order in which they are done."""
        done = {one.name: one for one in self.removal.steps}
        open_steps = [step for step in Step if step not in done and not self._keeps(step)]
        current = open_steps[0] if open_steps and not self.removal.is_done else None
        return [self._step(step, done.get(step), is_current=step is current) for step in Step]

    @property
    def notes(self) -> Sequence[DoneStep]:
        """The steps that left something for a person to do."""
        return [one for one in self.removal.steps if one.note]

    @property
    def rows_deleted(self) -> int:
        """How many rows went from the destinations."""
        return sum(sum(one.counts.values()) for one in self.removal.steps if one.name is Step.ROWS)

    @property
    def duration(self) -> str | None:
        """How long it took."""
        if self.removal.finished_at is None:
            return None
        return duration_text((self.removal.finished_at - self.removal.requested_at).total_seconds())

    def _keeps(self, step: Step) -> bool:
        return step is Step.ROWS and not self.removal.deletes_rows

    def _step(self, step: Step, done: DoneStep | None, *, is_current: bool) -> StepView:
        cause = self.removal.cause if is_current else None
        if self._keeps(step):
            word = KEPT
        elif done:
            word = UNFINISHED if done.note else DONE
        elif is_current:
            word = WAITING if cause else RUNNING
        else:
            word = TO_COME
        return StepView(step, word, done, cause, self._keeps(step))


class RemovalPages:
    """Answers the routes about removals."""

    def __init__(self, state: State, pages: Pages) -> None:
        self._state = state
        self._pages = pages

    async def list(self, request: web.Request) -> web.Response:
        """All removals, newest first."""
        wanted = read_filter(request, ListFilter)
        place = read_cursor(wanted.cursor, parts=2)
        before = (read_time(place[0]), place[1]) if place else None
        found = await RemovalStore(self._state.pool).list_newest(before=before, limit=PAGE_SIZE + 1)
        page = found[:PAGE_SIZE]
        last = page[-1] if len(found) > PAGE_SIZE else None
        cursor = make_cursor(last.requested_at.isoformat(), last.id) if last else None
        return self._pages.response(
            "removals.html",
            removals=[RemovalView(one) for one in page],
            is_first=place is None,
            next_address=address("/removals", {"cursor": cursor}) if cursor else None,
        )

    async def show(self, request: web.Request) -> web.Response:
        """One removal: its progress, then its receipt."""
        return self._pages.response("removal.html", view=await self._read(request))

    async def progress(self, request: web.Request) -> web.Response:
        """The same as it is now; once it is done, nobody needs to ask again."""
        view = await self._read(request)
        return self._pages.response("removal_progress.html", status=OVER if view.removal.is_done else 200, view=view)

    async def _read(self, request: web.Request) -> RemovalView:
        return await read_removal(self._state, request)


async def read_removal(state: State, request: web.Request) -> RemovalView:
    """Return the removal that the address names; raise `NotFoundError`."""
    store = RemovalStore(state.pool)
    removal = await store.get(read_id(request))
    return RemovalView(removal, await store.waits(removal))


class LeaveRows:
    """The dialog that asks before rows are left in a destination that can't be reached."""

    def __init__(self, state: State, dialogs: Dialogs) -> None:
        self._state = state
        self._dialogs = dialogs

    async def show(self, request: web.Request, problem: AppError | None = None) -> web.Response:
        """Ask."""
        view = await read_removal(self._state, request)
        return self._dialogs.show(request, "removal_rows.html", problem, view=view)

    async def submit(self, request: web.Request) -> web.Response:
        """Leave them, and show how the removal goes on."""
        removal_id = read_id(request)
        await self._state.removals.give_up_rows(removal_id, by=actor_of(request))
        return go(request, f"/removals/{removal_id}")


def add_removal_pages(app: web.Application, state: State, pages: Pages, _now: Callable[[], datetime]) -> None:
    """Add the routes about removals."""
    removals = RemovalPages(state, pages)
    add_route(app, "GET", "/removals", removals.list, Access.READ)
    add_route(app, "GET", "/removals/{id}", removals.show, Access.READ)
    add_route(app, "GET", "/removals/{id}/progress", removals.progress, Access.READ)
    dialogs = Dialogs(pages)
    dialogs.add(app, "/removals/{id}/give-up-rows", LeaveRows(state, dialogs))

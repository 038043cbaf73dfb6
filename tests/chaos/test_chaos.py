"""Whatever is killed, paused, lost or cut, the rows equal Stripe; and a rule that is switched off is found out."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos.figures import Figures
from tests.chaos.mutations import MUTATIONS
from tests.chaos.plan import VICTIMS, make_mutated_plan, make_plan
from tests.chaos.rest import Rest
from tests.chaos.run import Run
from tests.chaos.stage import Stage, staged

# One stack at a time: each has a broker, a database and six processes of its own.
pytestmark = [pytest.mark.xdist_group("stack"), pytest.mark.asyncio(loop_scope="module")]

EVENTS, KILLS = 1200, 6
SEEDS = (3, 4)
OBJECTS = 2500
RATE = 200.0  # changes a second, at most
SKEW = -2.0  # seconds that Stripe's clock is ahead
MUTATION = "answer-before-kafka"
CAUSES = ("sync-worker", "postgres", "kafka")  # whose death may make the worker fetch a page again


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def stage(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Stage]:
    """Everything, with a backfill under way."""
    home = tmp_path_factory.mktemp("chaos") / "home"
    async with staged(home, seed=SEEDS[0], objects=OBJECTS, clock_skew=SKEW) as running:
        yield running


@pytest.mark.parametrize("seed", [SEEDS[0], pytest.param(SEEDS[1], marks=pytest.mark.long)])
async def test_every_row_equals_stripe_although_everything_is_killed(stage: Stage, seed: int) -> None:
    """The first seed meets the backfill, of which a slice fetches at most one page again for each kill."""
    plan = make_plan(seed, events=EVENTS, kills=KILLS)
    figures = await Run(stage, plan, rate=RATE, say=ignore).carry_out()
    assert figures.is_right, report(figures)
    assert figures.kills == dict.fromkeys(VICTIMS, KILLS // len(VICTIMS))
    assert figures.events >= EVENTS
    assert figures.calls.most_pages_again <= sum(figures.kills[name] for name in CAUSES)


@pytest.mark.long
async def test_a_rule_that_is_switched_off_is_found_out(stage: Stage) -> None:
    mutation, rest = MUTATIONS[MUTATION], Rest(stage, ignore)
    # The feed is read once a backfill has ended, and would bring back what is to be lost.
    await rest.until_backfilled()
    await rest.until_still()
    await stage.switch_off(MUTATION)
    plan = make_mutated_plan(1, events=200, kills=mutation.kills[:1], weather=mutation.weather)
    figures = await Run(stage, plan, rate=RATE, say=ignore).carry_out()
    assert figures.lost > 0, report(figures)
    assert not figures.is_right


def ignore(text: str) -> None:
    """Show no progress."""


def report(figures: Figures) -> str:
    return "\n".join(figures.lines())

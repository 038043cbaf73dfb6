from services.connection_api.dashboard.event_pages import OUTCOMES
from services.destination_writer.delivery import Outcome
from services.destination_writer.lifeline import ASKED
from shared.event_outcomes import EventOutcome


def test_each_outcome_that_the_writer_notes_can_be_searched_for_and_has_a_word() -> None:
    assert {*map(str, Outcome), ASKED} == set(map(str, EventOutcome)) == set(OUTCOMES)

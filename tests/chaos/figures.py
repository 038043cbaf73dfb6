"""What a run has shown, for people and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tests.chaos.ledger import TIE, Calls, Rows

EXAMPLES = 10  # differences that are printed


@dataclass(frozen=True, slots=True)
class Figures:
    """The figures of one run."""

    seed: int
    events: int
    seconds: float
    kills: Mapping[str, int]
    at_points: Mapping[str, int]  # kills at a named point, by service and point
    pauses: int
    rows: Rows
    forgotten: tuple[str, ...]  # events that were answered with 2xx and never dealt with
    dead_letters: int
    deadlocks: int  # that the Postgres server has ended
    calls: Calls
    questions: Mapping[str, int]  # that the writers had for Stripe, by their reason
    quiet_seconds: float

    @property
    def lost(self) -> int:
        """Objects without a row, and events that were accepted and forgotten (even if a comparison healed them)."""
        return len(self.rows.lost) + len(self.forgotten)

    @property
    def counts(self) -> dict[str, int]:
        """Return the four figures that have to be 0."""
        rows = self.rows
        return {
            "lost": self.lost,
            "duplicate": len(rows.duplicate),
            "stale": len(rows.stale),
            "zombie": len(rows.zombie),
        }

    @property
    def is_right(self) -> bool:
        """Whether nothing is wrong."""
        return not any(self.counts.values()) and not self.dead_letters and not self.deadlocks

    @property
    def ties(self) -> int:
        """Questions about what no event could settle."""
        return self.questions.get(TIE, 0)

    @property
    def differences(self) -> tuple[str, ...]:
        """Return what is wrong, in words."""
        return (*(f"lost {one}" for one in self.forgotten), *self.rows.differences)

    def as_json(self) -> str:
        """Return one line of JSON."""
        derived: dict[str, Any] = {
            **self.counts,
            "is_right": self.is_right,
            "rows_compared": self.rows.compared,
            "refetch_share": round(self.calls.retrieved / max(1, self.events), 4),
            "tie_share": round(self.ties / max(1, self.events), 4),
            "differences": list(self.differences[:EXAMPLES]),
        }
        plain = {name: value for name, value in asdict(self).items() if name not in ("rows", "forgotten")}
        return json.dumps(plain | derived)

    def lines(self) -> Iterator[str]:
        """Return the figures as lines for people."""
        kills = sum(self.kills.values())
        each = ", ".join(f"{name} {count}" for name, count in sorted(self.kills.items()))
        at_points = sum(self.at_points.values())
        counts = " / ".join(f"{count} {name}" for name, count in self.counts.items())
        calls = self.calls
        rate = self.events / self.seconds
        yield f"events        {self.events:,} in {self.seconds:.0f} s ({rate:.0f}/s), seed {self.seed}"
        yield f"kills         {kills}: {each or 'none'}; {at_points} of them at a named point; pauses {self.pauses}"
        yield f"rows          {self.rows.compared:,} compared: {counts}, {self.dead_letters} dead letters"
        yield f"deadlocks     {self.deadlocks} seen by the Postgres server"
        yield (
            f"refetches     {self.ties:,} by a tie ({self.ties / max(1, self.events):.1%} of events); "
            f"{calls.retrieved:,} single objects were read in all ({calls.retrieved / max(1, self.events):.1%})"
        )
        again = calls.pages_again / max(1, kills)
        yield f"pages again   {calls.pages_again} ({again:.2f} for each kill); of one slice {calls.most_pages_again}"
        yield f"calls         {calls.made:,} to Stripe, {calls.rate_limited:,} of them refused with 429"
        yield f"quiet after   {self.quiet_seconds:.1f} s"
        for difference in self.differences[:EXAMPLES]:
            yield f"  {difference}"

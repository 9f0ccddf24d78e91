"""What `fedloom round list` and `show` print."""

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec
from sqlalchemy import Connection, Row, func, select

from aggregator import tables as t
from aggregator.figures import in_words
from aggregator.history import RoundEntry
from aggregator.past_rounds import Run, read_past
from aggregator.records import Figures
from aggregator.store import Store
from fedloom.errors import InputError
from fedloom.wire.messages import Phase


class Attempt(msgspec.Struct, frozen=True):
    """One attempt of a round."""

    round: int
    attempt: int
    phase: str
    status: str
    reason: str
    manifest_version: int
    opened_at: float
    """Seconds since 1970 (UTC)."""
    closed_at: float | None
    invited: int
    answers: dict[str, int]
    """How many, by verdict; refused and late ones are not kept."""
    counted: int
    """Accepted updates that belong to its fusion."""
    model: str
    """SHA-256 of the model that it made; empty if none."""
    build: str
    """What fused, see aggregator.build."""
    metrics: Figures


def attempts(store: Store, run: Run, number: int) -> list[Attempt]:
    """All attempts of a round, oldest first.

    Raises:
        InputError: there is none.
    """
    where = (t.rounds.c.job == run.id) & (t.rounds.c.round == number) & (t.rounds.c.phase != Phase.DONE.value)
    with store.engine.connect() as connection:
        rows = connection.execute(select(t.rounds).where(where).order_by(t.rounds.c.manifest_version)).all()
        found = [_attempt(connection, run, row) for row in rows]
    if not found:
        raise InputError("ROUND", "", f"round {number} is not known", f"see: fedloom round list {run.job.name}")
    return found


def lines(entries: Sequence[RoundEntry]) -> str:
    """A line for each attempt."""
    return "\n".join(_line(each.round, each.attempt, each.phase, each.status, each.reason) for each in entries)


def describe(found: Sequence[Attempt]) -> str:
    """For people."""
    return "\n".join(line for each in found for line in _paragraph(each))


def _attempt(connection: Connection, run: Run, row: "Row[tuple[object, ...]]") -> Attempt:
    past = read_past(connection, run, row)
    verdicts = select(t.updates.c.verdict).where(t.updates.c.counted_in == row.manifest_version)
    counted = select(func.count()).where(
        t.updates.c.counted_in == row.manifest_version, t.updates.c.spool_offset.is_not(None)
    )
    return Attempt(
        round=row.round,
        attempt=row.attempt,
        phase=row.phase,
        status=row.status,
        reason=row.reason,
        manifest_version=row.manifest_version,
        opened_at=row.opened_at,
        closed_at=row.closed_at,
        invited=len(past.opened.invitations),
        answers=dict(Counter(connection.scalars(verdicts))),
        counted=connection.scalar(counted) or 0,
        model=past.model.hash.hex() if past.model and row.status == "done" else "",
        build=past.build,
        metrics=past.metrics,
    )


def _paragraph(each: Attempt) -> Iterator[str]:
    yield _line(each.round, each.attempt, each.phase, each.status, each.reason)
    closed = f", closed {_utc(each.closed_at)}" if each.closed_at else ""
    yield f"  opened {_utc(each.opened_at)}{closed}, manifest {each.manifest_version}"
    answers = ", ".join(f"{count} {verdict}" for verdict, count in sorted(each.answers.items())) or "no answer"
    yield f"  {each.invited} invited: {answers}; {each.counted} counted"
    if each.model:
        yield f"  model {each.model}"
    if each.build:
        yield f"  fused by {each.build}"
    if each.metrics:
        yield "  " + ", ".join(in_words(each.metrics))


def _line(number: int, attempt: int, phase: str, status: str, reason: str) -> str:
    return f"round {number} ({phase}), attempt {attempt}: {status}{f' ({reason})' if reason else ''}"


def _utc(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

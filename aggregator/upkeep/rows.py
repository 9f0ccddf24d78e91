"""Removes from the database what nothing needs any more. Each function works inside the caller's transaction.

Of a round that is older than retention, a line stays for ever: what it was, how it ended, its manifest's hash, its
metrics. Who was invited, what each said, the manifest and its keys go; but of each device the last answer that is in a
model stays, because what the device remembers of its own gradients (SCAFFOLD, FedDyn) hangs on it.
"""

from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, delete, func, select, true, update

from aggregator import tables as t
from aggregator.enrolment.states import TokenState
from aggregator.meta import read_number, write_number
from fedloom.trust.documents import DAY_S
from fedloom.wire.messages import Phase, Verdict

ROUNDS_A_TURN = 8
"""Pruned together, so that seven turns of eight write nothing for it, and an old database does not stall a round."""
TOKEN_GRACE_S = 30 * DAY_S
"""For which a token that has let nobody in is shown as expired."""
_PRUNED_TO = "pruned_to"
_DEAD = (TokenState.UNUSED.value, TokenState.REJECTED.value, TokenState.REVOKED.value)


class Pruned(NamedTuple):
    """Rows that were removed; of rounds, those that are lines now."""

    rounds: int
    answers: int
    invitations: int


def due_rounds(connection: Connection, keep: int) -> list[int]:
    """Manifest versions of rounds that can go, oldest first; the newest `keep` stay."""
    newest_first = select(t.rounds.c.manifest_version).order_by(t.rounds.c.manifest_version.desc())
    newest_due = connection.scalar(newest_first.offset(keep).limit(1)) or 0
    due = t.rounds.c.manifest_version.between(read_number(connection, _PRUNED_TO) + 1, newest_due)
    return list(
        connection.scalars(select(t.rounds.c.manifest_version).where(due).order_by(t.rounds.c.manifest_version))
    )


def prune_rounds(connection: Connection, versions: list[int]) -> Pruned:
    """Leave a line of each of these; they are the first of `due_rounds`."""
    rounds, answers, invitations = (
        t.rounds.c.manifest_version,
        t.updates.c.manifest_version,
        t.invitations.c.manifest_version,
    )
    removed = [
        connection.execute(delete(answers.table).where(answers.in_(versions), ~_is_last_in_a_model())).rowcount,
        connection.execute(delete(invitations.table).where(invitations.in_(versions))).rowcount,
    ]
    blank = {"manifest": b"", "brief_key": b"", "model_key": None, "round_key": None}
    connection.execute(update(t.rounds).where(rounds.in_(versions)).values(blank))
    write_number(connection, _PRUNED_TO, versions[-1])
    return Pruned(len(versions), *removed)


def count_rows(connection: Connection, versions: list[int]) -> Pruned:
    """What `prune_rounds` would remove."""
    wheres = (
        t.updates.c.manifest_version.in_(versions) & ~_is_last_in_a_model(),
        t.invitations.c.manifest_version.in_(versions),
    )
    counts = [connection.scalar(select(func.count()).where(where)) or 0 for where in wheres]
    return Pruned(len(versions), *counts)


def is_in_a_model() -> ColumnElement[bool]:
    """Of an answer, joined with the round that counts it: whether a model was made of it."""
    rounds = t.rounds.c
    is_made = (rounds.status == "done") & (rounds.phase == Phase.TRAIN.value)
    return is_made & (t.updates.c.verdict == Verdict.ACCEPTED.value)


def _is_last_in_a_model() -> ColumnElement[bool]:
    """Of an answer: whether it is the last one of its device that is in a model. Each look-up is by a primary key."""
    own = select(t.rounds.c.manifest_version).where(t.rounds.c.manifest_version == t.updates.c.counted_in)
    newer, its_round = t.updates.alias(), t.rounds.alias()
    is_newer = (
        (its_round.c.manifest_version > t.updates.c.counted_in)
        & (its_round.c.status == "done")
        & (its_round.c.phase == Phase.TRAIN.value)
        & (newer.c.manifest_version == its_round.c.manifest_version)  # only synchronous jobs have variates
        & (newer.c.device == t.updates.c.device)
        & (newer.c.verdict == Verdict.ACCEPTED.value)
    )
    later = select(newer.c.digest).select_from(its_round.join(newer, true())).where(is_newer)
    return own.where(is_in_a_model()).correlate(t.updates).exists() & ~later.correlate(t.updates).exists()


def dead_tokens(now_s: float) -> ColumnElement[bool]:
    """Tokens that have let nobody in and have been expired for long."""
    return t.tokens.c.state.in_(_DEAD) & (t.tokens.c.expires_at < now_s - TOKEN_GRACE_S)


def expired_certificates(now_s: float) -> ColumnElement[bool]:
    """Those that a revocation list need not name any more; a device's newest stays, expired or not."""
    newer = t.certificates.alias()
    of_device = (newer.c.device == t.certificates.c.device) & (newer.c.not_after > t.certificates.c.not_after)
    return (t.certificates.c.not_after < now_s) & select(newer.c.serial).where(of_device).exists()

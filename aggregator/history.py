"""Reads back from the store what a coordinator, a fusion or an operator needs to know."""

from collections.abc import Iterator, Sequence

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, func, select

from aggregator import tables as t
from aggregator.backup.leap import newest_leap, newest_version
from aggregator.phases import remember
from aggregator.records import Answer, Figures, Invitation, Outcome, RoundRecord, Snapshot, SpoolEntry, Standing
from aggregator.store import Store
from aggregator.upkeep.rows import is_in_a_model
from fedloom.job.rounds import Stopping
from fedloom.wire.messages import Closed, Phase, Verdict

MAX_VERSION = 2**63 - 1
"""Above that of any manifest."""
_AT_ONCE = 200


class ModelEntry(msgspec.Struct, frozen=True):
    """A model version that the store knows."""

    version: int
    file: str
    round: int
    devices: int
    samples: int
    metrics: Figures


class RoundEntry(msgspec.Struct, frozen=True):
    """A round in the operator's overview."""

    round: int
    attempt: int
    phase: str
    status: str
    reason: str
    metrics: Figures


def newest_job(store: Store) -> tuple[bytes, str, bytes] | None:
    """Id, name and definition of the run that was started last."""
    columns = (t.jobs.c.id, t.jobs.c.name, t.jobs.c.definition)
    with store.engine.connect() as connection:
        row = connection.execute(select(*columns).order_by(t.jobs.c.number.desc()).limit(1)).first()
    return None if row is None else (row.id, row.name, row.definition)


def snapshot(store: Store, job: bytes, stopping: Stopping) -> Snapshot:
    """Where a run stands; the model and the strategy's state are on disk (see `models_of`, `newest_state`)."""
    with store.engine.connect() as connection:
        latest = list(connection.execute(select(t.rounds).order_by(t.rounds.c.manifest_version.desc()).limit(2)))
        own = connection.execute(
            select(t.rounds).where(t.rounds.c.job == job).order_by(t.rounds.c.manifest_version.desc()).limit(1)
        ).first()
        start = Snapshot(
            job,
            first_version=connection.scalar(select(t.jobs.c.first_version).where(t.jobs.c.id == job)) or 0,
            last_version=newest_version(connection),
            is_restored=newest_leap(connection) is not None,
            last_hash=latest[0].manifest_hash if latest else bytes(32),
            manifests=tuple(row.manifest for row in latest),
        )
        if own is None:
            return start._replace(closes=_closes(latest[0]) if latest else None)
        bases = _bases(connection, own)
        return start._replace(
            newest=read_round(connection, own),
            outcome=_outcome(own.status),
            answers=_answers(connection, t.updates.c.counted_in == own.manifest_version),
            earlier=_earlier(connection, own.manifest_version, bases),
            bases=tuple(read_round(connection, row) for row in bases),
            aborted_in_row=_aborted_in_row(connection, job),
            standings=_standings(connection),
            history=_history(connection, job, stopping),
        )


def entries(store: Store, manifest_version: int) -> tuple[SpoolEntry, ...]:
    """Where the accepted updates that a round counts lie, in the order of the devices' ids and of what they answer."""
    own, base = t.updates.c, t.rounds.alias()
    counted = select(t.rounds.c.round).where(t.rounds.c.manifest_version == manifest_version).scalar_subquery()
    columns = (own.device, own.samples, own.spool_offset, own.spool_length, own.manifest_version)
    query = (
        select(*columns, counted - base.c.round)  # each round that is done makes one version of the model
        .join(base, base.c.manifest_version == own.manifest_version)
        .where(own.counted_in == manifest_version, own.spool_offset.is_not(None))
        .order_by(own.device, own.manifest_version)
    )
    with store.engine.connect() as connection:
        return tuple(SpoolEntry(*row) for row in connection.execute(query))


def counted(store: Store, job: bytes) -> dict[bytes, bytes]:
    """Of each device the SHA-256 of the envelope of its last update that is in a model of this run."""
    own = t.updates.c
    query = (
        select(own.device, own.digest)
        .join(t.rounds, t.rounds.c.manifest_version == own.counted_in)
        .where(t.rounds.c.job == job, is_in_a_model())
        .order_by(own.counted_in)
    )
    with store.engine.connect() as connection:
        return {row.device: row.digest for row in connection.execute(query)}


def models_of(store: Store, name: str) -> Iterator[ModelEntry]:
    """The versions of a job's model, oldest first: all that there ever were, so they are read a few at a time."""
    query = select(t.models).where(t.models.c.job_name == name).order_by(t.models.c.version)
    with store.engine.connect().execution_options(yield_per=_AT_ONCE) as connection:
        for row in connection.execute(query):
            yield ModelEntry(row.version, row.path, row.round, row.devices, row.samples, _figures(row.metrics))


def newest_model(store: Store, name: str) -> int | None:
    """The newest version of a job's model; None: there is none."""
    with store.engine.connect() as connection:
        newest: int | None = connection.scalar(select(func.max(t.models.c.version)).where(t.models.c.job_name == name))
    return newest


def rounds_of(store: Store, job: bytes) -> list[RoundEntry]:
    """The rounds of a run, oldest first."""
    query = select(t.rounds).where(t.rounds.c.job == job).order_by(t.rounds.c.manifest_version)
    with store.engine.connect() as connection:
        return [
            RoundEntry(row.round, row.attempt, row.phase, row.status, row.reason, _figures(row.metrics))
            for row in connection.execute(query)
        ]


def read_round(connection: Connection, row: "Row[tuple[object, ...]]") -> RoundRecord:
    """A row of `rounds`, with its invitations."""
    query = select(t.invitations).where(t.invitations.c.manifest_version == row.manifest_version)
    invited = connection.execute(query.order_by(t.invitations.c.device))
    return RoundRecord(
        manifest_version=row.manifest_version,
        manifest_hash=row.manifest_hash,
        manifest=row.manifest,
        job=row.job,
        round=row.round,
        attempt=row.attempt,
        phase=Phase(row.phase),
        round_key=row.round_key or b"",
        brief_key=row.brief_key,
        model_key=row.model_key or b"",
        model_version=row.model_version,
        target=row.target,
        invitations=tuple(Invitation(each.device, each.train, each.evaluate) for each in invited),
    )


def newest_state(store: Store, job: bytes) -> bytes:
    """SHA-256 of the strategy's state as the run's newest done round left it; empty where there is none."""
    with store.engine.connect() as connection:
        return state_digest(connection, job, MAX_VERSION)


def _closes(row: "Row[tuple[object, ...]]") -> Closed | None:
    outcome = _outcome(row.status)
    is_round = Phase(row.phase) is not Phase.DONE
    return Closed(row.round, row.attempt, outcome) if outcome and is_round else None


def _bases(connection: Connection, newest: "Row[tuple[object, ...]]") -> Sequence["Row[tuple[object, ...]]"]:
    """The rounds of a run that are over but whose keys are kept, oldest first."""
    rounds = t.rounds.c
    query = select(t.rounds).where(rounds.job == newest.job, rounds.round_key.is_not(None), rounds.status != "open")
    return connection.execute(query.order_by(rounds.manifest_version)).all()


def _earlier(connection: Connection, newest: int, bases: Sequence["Row[tuple[object, ...]]"]) -> tuple[Answer, ...]:
    first = min([newest - 1, *(row.manifest_version for row in bases)])
    return _answers(connection, (t.updates.c.manifest_version >= first) & (t.updates.c.counted_in < newest))


def _answers(connection: Connection, which: ColumnElement[bool]) -> tuple[Answer, ...]:
    return tuple(
        Answer(
            r.device,
            r.digest,
            Verdict(r.verdict),
            r.reason,
            r.samples,
            r.train_loss,
            r.size_bytes,
            base=r.manifest_version,
        )
        for r in connection.execute(select(t.updates).where(which))
    )


def state_digest(connection: Connection, job: bytes, before: int) -> bytes:
    """SHA-256 of the strategy's state when this run's manifest `before` was made; empty where there was none."""
    query = select(t.rounds.c.strategy_state).where(
        t.rounds.c.job == job, t.rounds.c.strategy_state.is_not(None), t.rounds.c.manifest_version < before
    )
    return connection.scalar(query.order_by(t.rounds.c.manifest_version.desc()).limit(1)) or b""


def _aborted_in_row(connection: Connection, job: bytes) -> int:
    query = select(t.rounds.c.status).where(t.rounds.c.job == job, t.rounds.c.status != "open")
    count = 0
    for status in connection.scalars(query.order_by(t.rounds.c.manifest_version.desc()).limit(1000)):
        if status != "aborted":
            break
        count += 1
    return count


def _history(connection: Connection, job: bytes, stopping: Stopping) -> tuple[Figures, ...]:
    """Folded as it is read: a job may have more rounds than figures of them belong into memory."""
    query = select(t.rounds.c.metrics).where(t.rounds.c.job == job, t.rounds.c.metrics.is_not(None))
    query = query.order_by(t.rounds.c.manifest_version).execution_options(yield_per=_AT_ONCE)
    remembered: list[Figures] = []
    for each in connection.scalars(query):
        remembered = remember([*remembered, _figures(each)], stopping)
    return tuple(remembered)


def _standings(connection: Connection) -> tuple[Standing, ...]:
    columns = [t.standings.c[name] for name in Standing._fields]
    rows = connection.execute(select(*columns).order_by(t.standings.c.device))
    decode = msgspec.json.Decoder(tuple[int, ...]).decode
    return tuple(Standing(*row)._replace(class_counts=decode(row.class_counts)) for row in rows)


def _outcome(status: str) -> Outcome | None:
    return "done" if status == "done" else "aborted" if status == "aborted" else None


def _figures(blob: bytes | None) -> Figures:
    return msgspec.json.decode(blob, type=dict[str, float]) if blob else {}

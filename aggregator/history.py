"""Reads back from the store what a coordinator, a fusion or an operator needs to know."""

import msgspec
from sqlalchemy import Connection, Row, select

from aggregator import tables as t
from aggregator.records import Answer, Figures, Invitation, Outcome, RoundRecord, Snapshot, SpoolEntry
from aggregator.store import Store
from fedloom.wire.messages import Closed, Phase, Verdict


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


def snapshot(store: Store, job: bytes) -> Snapshot:
    """Where a run stands; the model itself is on disk (see `models_of`)."""
    with store.engine.connect() as connection:
        latest = list(connection.execute(select(t.rounds).order_by(t.rounds.c.manifest_version.desc()).limit(2)))
        own = connection.execute(
            select(t.rounds).where(t.rounds.c.job == job).order_by(t.rounds.c.manifest_version.desc()).limit(1)
        ).first()
        start = Snapshot(
            job,
            first_version=connection.scalar(select(t.jobs.c.first_version).where(t.jobs.c.id == job)) or 0,
            last_version=latest[0].manifest_version if latest else 0,
            last_hash=latest[0].manifest_hash if latest else bytes(32),
            manifests=tuple(row.manifest for row in latest),
        )
        if own is None:
            return start._replace(closes=_closes(latest[0]) if latest else None)
        return start._replace(
            newest=_round(connection, own),
            outcome=_outcome(own.status),
            answers=_answers(connection, own.manifest_version),
            earlier=_answers(connection, own.manifest_version - 1),
            strategy_state=_strategy_state(connection, job),
            aborted_in_row=_aborted_in_row(connection, job),
            history=_history(connection, job),
        )


def entries(store: Store, manifest_version: int) -> tuple[SpoolEntry, ...]:
    """Where the accepted updates of a round lie, in the order of the devices' ids."""
    columns = (t.updates.c.device, t.updates.c.samples, t.updates.c.spool_offset, t.updates.c.spool_length)
    query = select(*columns).where(
        t.updates.c.manifest_version == manifest_version, t.updates.c.spool_offset.is_not(None)
    )
    with store.engine.connect() as connection:
        return tuple(SpoolEntry(*row) for row in connection.execute(query.order_by(t.updates.c.device)))


def models_of(store: Store, name: str) -> list[ModelEntry]:
    """The versions of a job's model, oldest first."""
    query = select(t.models).where(t.models.c.job_name == name).order_by(t.models.c.version)
    with store.engine.connect() as connection:
        rows = connection.execute(query)
        return [
            ModelEntry(row.version, row.path, row.round, row.devices, row.samples, _figures(row.metrics))
            for row in rows
        ]


def rounds_of(store: Store, job: bytes) -> list[RoundEntry]:
    """The rounds of a run, oldest first."""
    query = select(t.rounds).where(t.rounds.c.job == job).order_by(t.rounds.c.manifest_version)
    with store.engine.connect() as connection:
        return [
            RoundEntry(row.round, row.attempt, row.phase, row.status, row.reason, _figures(row.metrics))
            for row in connection.execute(query)
        ]


def _round(connection: Connection, row: "Row[tuple[object, ...]]") -> RoundRecord:
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


def _closes(row: "Row[tuple[object, ...]]") -> Closed | None:
    outcome = _outcome(row.status)
    is_round = Phase(row.phase) is not Phase.DONE
    return Closed(row.round, row.attempt, outcome) if outcome and is_round else None


def _answers(connection: Connection, manifest_version: int) -> tuple[Answer, ...]:
    query = select(t.updates).where(t.updates.c.manifest_version == manifest_version)
    return tuple(
        Answer(r.device, r.digest, Verdict(r.verdict), r.reason, r.samples, r.train_loss, r.size_bytes)
        for r in connection.execute(query)
    )


def _strategy_state(connection: Connection, job: bytes) -> bytes:
    """As the newest round that was done left it."""
    query = select(t.rounds.c.strategy_state).where(t.rounds.c.job == job, t.rounds.c.strategy_state.is_not(None))
    return connection.scalar(query.order_by(t.rounds.c.manifest_version.desc()).limit(1)) or b""


def _aborted_in_row(connection: Connection, job: bytes) -> int:
    query = select(t.rounds.c.status).where(t.rounds.c.job == job, t.rounds.c.status != "open")
    count = 0
    for status in connection.scalars(query.order_by(t.rounds.c.manifest_version.desc()).limit(1000)):
        if status != "aborted":
            break
        count += 1
    return count


def _history(connection: Connection, job: bytes) -> tuple[Figures, ...]:
    query = select(t.rounds.c.metrics).where(t.rounds.c.job == job, t.rounds.c.metrics.is_not(None))
    return tuple(_figures(each) for each in connection.scalars(query.order_by(t.rounds.c.manifest_version)))


def _outcome(status: str) -> Outcome | None:
    return "done" if status == "done" else "aborted" if status == "aborted" else None


def _figures(blob: bytes | None) -> Figures:
    return msgspec.json.decode(blob, type=dict[str, float]) if blob else {}

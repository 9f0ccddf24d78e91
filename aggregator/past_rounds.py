"""Reads runs and rounds that are over back from the store: what a fusion was made of, and what it gave."""

from typing import NamedTuple

import msgspec
from sqlalchemy import ColumnElement, Connection, Row, Select, select

from aggregator import history
from aggregator import tables as t
from aggregator.records import Figures, RoundRecord
from aggregator.store import Store, is_id
from fedloom.errors import InputError
from fedloom.job import Job
from fedloom.wire.messages import Phase


class Run(NamedTuple):
    """A job that was started."""

    id: bytes
    job: Job
    first_version: int
    """Of its initial model."""


class MadeModel(NamedTuple):
    """A model version as the store knows it."""

    version: int
    hash: bytes
    """SHA-256 of the plain model."""
    round: int
    devices: int
    samples: int


class PastRound(NamedTuple):
    """A round that is done."""

    opened: RoundRecord
    build: str
    metrics: Figures
    state_before: bytes
    """SHA-256 of the strategy's state; empty before the first round that left one."""
    state_after: bytes
    model: MadeModel | None
    """What it made."""


def find_run(store: Store, job: str) -> Run:
    """The newest run of the job with this name, or the one with this id (hex).

    Raises:
        InputError: there is none.
    """
    query = select(t.jobs).where((t.jobs.c.name == job) | is_id(t.jobs.c.id, job))
    with store.engine.connect() as connection:
        row = connection.execute(query.order_by(t.jobs.c.number.desc()).limit(1)).first()
        if row is None:
            names = ", ".join(connection.scalars(select(t.jobs.c.name).distinct().order_by(t.jobs.c.name)))
            raise InputError("JOB", "", f"no job {job!r} has run here", f"there are: {names or 'none yet'}")
    return Run(row.id, msgspec.json.decode(row.definition, type=Job), row.first_version)


def done_round(store: Store, run: Run, number: int) -> PastRound:
    """The attempt of a round that was fused.

    Raises:
        InputError: there is none.
    """
    where = (t.rounds.c.round == number) & (t.rounds.c.phase != Phase.DONE.value)
    with store.engine.connect() as connection:
        rows = list(connection.execute(_of(run).where(where)))
        done = [row for row in rows if row.status == "done"]
        if not done:
            problem = f"is {rows[0].status}: nothing of it was fused" if rows else "is not known"
            raise InputError("ROUND", "", f"round {number} {problem}", f"see: fedloom round list {run.job.name}")
        if done[0].phase == Phase.EXCHANGE.value:
            problem = f"round {number} has carried an app's messages: nothing of it was fused"
            raise InputError("ROUND", "", problem, f"see: fedloom round show {run.job.name} {number}")
        return read_past(connection, run, done[0])


def round_that_made(store: Store, run: Run, version: int) -> PastRound | None:
    """The round from which a version of the run's model came; None for the model that the run started with."""
    if version == run.first_version:
        return _newest_done(store, run, t.rounds.c.phase == Phase.STATISTICS.value)
    return _newest_done(store, run, (t.rounds.c.model_version == version - 1) & (t.rounds.c.phase == Phase.TRAIN.value))


def round_that_left(store: Store, run: Run, state: bytes) -> PastRound | None:
    """The newest training round after which the strategy's state had this SHA-256."""
    is_left = (t.rounds.c.strategy_state == state) & (t.rounds.c.phase == Phase.TRAIN.value)
    return _newest_done(store, run, is_left)


def made_model(store: Store, name: str, version: int) -> MadeModel | None:
    """A version of a job's model."""
    with store.engine.connect() as connection:
        return _model(connection, name, version)


def kept_states(store: Store, run: bytes, from_round: int) -> set[bytes]:
    """SHA-256s of the states that this run's rounds from `from_round` on, and a restart, need."""
    columns = select(t.rounds.c.round, t.rounds.c.strategy_state)
    query = columns.where(t.rounds.c.job == run, t.rounds.c.strategy_state.is_not(None))
    kept = set()
    with store.engine.connect() as connection:
        for row in connection.execute(query.order_by(t.rounds.c.manifest_version.desc())):
            kept.add(row.strategy_state)
            if row.round < from_round:  # the one that the oldest of these rounds started with
                break
    return kept


def read_past(connection: Connection, run: Run, row: "Row[tuple[object, ...]]") -> PastRound:
    """A row of `rounds`; where it is not done, the model is that which another attempt has made."""
    opened = history.read_round(connection, row)
    version = run.first_version if opened.phase is Phase.STATISTICS else (opened.model_version or 0) + 1
    return PastRound(
        opened=opened,
        build=row.build,
        metrics=msgspec.json.decode(row.metrics, type=Figures) if row.metrics else {},
        state_before=history.state_digest(connection, run.id, opened.manifest_version),
        state_after=row.strategy_state or b"",
        model=None if opened.phase is Phase.EVALUATE else _model(connection, run.job.name, version),
    )


def _newest_done(store: Store, run: Run, condition: ColumnElement[bool]) -> PastRound | None:
    with store.engine.connect() as connection:
        row = connection.execute(_of(run).where(condition, t.rounds.c.status == "done").limit(1)).first()
        return None if row is None else read_past(connection, run, row)


def _of(run: Run) -> "Select[tuple[object, ...]]":
    """The run's rounds, newest first."""
    return select(t.rounds).where(t.rounds.c.job == run.id).order_by(t.rounds.c.manifest_version.desc())


def _model(connection: Connection, name: str, version: int) -> MadeModel | None:
    columns = (t.models.c.version, t.models.c.hash, t.models.c.round, t.models.c.devices, t.models.c.samples)
    row = connection.execute(select(*columns).where(t.models.c.job_name == name, t.models.c.version == version)).first()
    return None if row is None else MadeModel(*row)

"""Finds files in a state directory that nothing needs any more, beside an aggregator that may be making new ones.

The files are listed before the database is asked: a segment's round is in it before the segment is made. A model, or a
strategy's state, is made before the database names it; so one that is younger than an hour is left alone.
"""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from aggregator import tables as t
from aggregator.config import Retention
from aggregator.exchange.journal_files import DIRECTORY, open_run
from aggregator.spool import segment_name
from aggregator.store import DATABASE, Store
from fedloom.trust.documents import DAY_S

YOUNG_S = 3600.0
KEPT_ASIDE_S = 30.0 * DAY_S
"""How long damaged files, and copies of databases of an older schema, are kept to be looked at."""


class Orphan(NamedTuple):
    """A file, or a directory with all that is in it."""

    kind: str
    path: Path
    size_bytes: int


def orphans(state: Path, store: Store, retention: Retention) -> list[Orphan]:
    """All that can be deleted."""
    segments = sorted((state / "spool").glob("*/*.spool"))
    made = sorted(path for end in ("fedloom", "state") for path in (state / "models").glob(f"*/*.{end}"))
    journals, run = sorted((state / DIRECTORY).glob("*")), open_run(store)
    with store.engine.connect() as connection:
        wanted, named = _wanted_segments(connection, retention), _named(connection)
    spool, models, now_s = state / "spool", state / "models", time.time()
    found = [("segment", path) for path in segments if path.relative_to(spool).as_posix() not in wanted]
    found += [
        (path.suffix.removeprefix(".").replace("fedloom", "model"), path)
        for path in made
        if path.relative_to(models).as_posix() not in named and path.name not in named and _age_s(path, now_s) > YOUNG_S
    ]
    found += [("journal", path) for path in journals if run is None or path.name != run.id.hex()]
    found += [("temporary", path) for path in _temporary(state) if _age_s(path, now_s) > YOUNG_S]
    found += [("put aside", path) for path in _put_aside(state) if _age_s(path, now_s) > KEPT_ASIDE_S]
    return [Orphan(kind, path, _size(path)) for kind, path in found]


def delete(orphan: Orphan) -> None:
    """It may be gone already."""
    if orphan.path.is_dir():
        shutil.rmtree(orphan.path, ignore_errors=True)
    else:
        orphan.path.unlink(missing_ok=True)


def _wanted_segments(connection: Connection, retention: Retention) -> set[str]:
    """Of the newest run, as the aggregator itself keeps them."""
    job = connection.scalar(select(t.jobs.c.id).order_by(t.jobs.c.number.desc()).limit(1))
    of_job = t.rounds.c.job == job
    newest = connection.scalar(select(func.max(t.rounds.c.round)).where(of_job)) or 0
    query = select(t.rounds.c.job, t.rounds.c.round, t.rounds.c.attempt).where(of_job)
    rows = connection.execute(query.where(t.rounds.c.round >= newest - retention.rounds))
    return {segment_name(*row) for row in rows}


def _named(connection: Connection) -> set[str]:
    """Model files by job and name, states by their hash."""
    models = {f"{job}/{path}" for job, path in connection.execute(select(t.models.c.job_name, t.models.c.path))}
    states = select(t.rounds.c.strategy_state).where(t.rounds.c.strategy_state.is_not(None)).distinct()
    return models | {f"{digest.hex()}.state" for digest in connection.scalars(states)}


def _temporary(state: Path) -> Iterator[Path]:
    """What a crash has left half made."""
    for folder in ("", "models/*/", "exchange/*/", "keys/"):
        yield from state.glob(f"{folder}.*.new")


def _put_aside(state: Path) -> Iterator[Path]:
    yield from state.rglob("*.damaged-*")
    yield from state.glob(f"{DATABASE}.schema-*")


def _age_s(path: Path, now_s: float) -> float:
    try:
        return now_s - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _size(path: Path) -> int:
    try:
        return sum(each.stat().st_size for each in (path, *path.rglob("*")) if each.is_file())
    except FileNotFoundError:
        return 0

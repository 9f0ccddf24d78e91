"""`fedloom aggregator gc`: removes at once all that nothing needs, whether the aggregator runs or not.

By itself the aggregator prunes old rounds, segments and models. What depends on the clock, tokens and certificates that
have expired, goes here alone: a clock that is wrong for an hour must not delete them.
"""

import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
from sqlalchemy import Connection, delete, func, select

from aggregator import tables as t
from aggregator.config import Retention
from aggregator.store import DATABASE, Store
from aggregator.upkeep import files
from aggregator.upkeep.rows import (
    ROUNDS_A_TURN,
    count_rows,
    dead_tokens,
    due_rounds,
    expired_certificates,
)
from fedloom.errors import StoreError

_PAGES_A_STEP = 256
"""Each step is a transaction for which a running aggregator waits."""


class Freed(msgspec.Struct, frozen=True):
    """What was removed, or would be."""

    what: str
    count: int
    bytes: int
    """0 where it is rows: their pages are counted as `free pages`."""


def collect(state: Path, store: Store, retention: Retention, keep_rounds: int, *, is_dry: bool) -> Iterator[Freed]:
    """Remove it, unless `is_dry`; one line for each kind.

    Raises:
        StoreError: the database cannot be written.
    """
    yield from _old_rounds(store, keep_rounds, is_dry=is_dry)
    yield from _expired(store, time.time(), is_dry=is_dry)
    found = files.orphans(state, store, retention)
    for kind in sorted({orphan.kind for orphan in found}):
        of_kind = [orphan for orphan in found if orphan.kind == kind]
        for orphan in of_kind if not is_dry else ():
            files.delete(orphan)
        yield Freed(kind, len(of_kind), sum(orphan.size_bytes for orphan in of_kind))
    pages, size_bytes = _free_pages(store, is_dry=is_dry)
    if pages:
        yield Freed("free pages", pages, size_bytes)


def _old_rounds(store: Store, keep: int, *, is_dry: bool) -> Iterator[Freed]:
    with store.engine.connect() as connection:
        due = due_rounds(connection, keep)
        total = count_rows(connection, due)
    for first in range(0, len(due) if not is_dry else 0, ROUNDS_A_TURN):
        store.prune(keep, due[first : first + ROUNDS_A_TURN])
    if total.rounds:
        yield Freed("answers", total.answers, 0)
        yield Freed("invitations", total.invitations, 0)
        yield Freed("manifests", total.rounds, 0)


def _expired(store: Store, now_s: float, *, is_dry: bool) -> Iterator[Freed]:
    for what, table, where in (
        ("tokens", t.tokens, dead_tokens(now_s)),
        ("certificates", t.certificates, expired_certificates(now_s)),
    ):
        with store.engine.connect() as connection:
            count = connection.scalar(select(func.count()).select_from(table).where(where)) or 0
        if count and not is_dry:
            with store.exclusively() as connection:
                connection.execute(delete(table).where(where))
        if count:
            yield Freed(what, count, 0)


def _free_pages(store: Store, *, is_dry: bool) -> tuple[int, int]:
    """Give the disk back the database's empty pages; returns how many there were, and their size."""
    with store.engine.connect() as connection:
        before = left = _number(connection, "freelist_count")
        size_bytes = _number(connection, "page_size")
        while left and not is_dry:
            _vacuum(connection, _PAGES_A_STEP)
            last, left = left, _number(connection, "freelist_count")
            if left >= last:  # a database that was made without
                before -= left
                break
    return before, before * size_bytes


def _vacuum(connection: Connection, pages: int) -> None:
    """SQLite answers with a row without columns for each page; SQLAlchemy would not fetch those."""
    raw = connection.connection.dbapi_connection
    if raw is None:
        return
    try:
        raw.cursor().execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
    except sqlite3.Error as error:
        raise StoreError(
            f"{DATABASE}: its empty pages cannot be given back ({error}); free the disk, and try again"
        ) from error


def _number(connection: Connection, pragma: str) -> int:
    return int(connection.exec_driver_sql(f"PRAGMA {pragma}").scalar_one())

"""One dialect, and what it has compiled, for all engines of a process: each would compile the same statements again."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import sqlalchemy

_real_create_engine = sqlalchemy.create_engine
_engines: dict[str, sqlalchemy.Engine] = {}


@contextmanager
def sharing() -> Iterator[None]:
    """Within this, engines share; all are SQLite's."""
    with mock.patch.object(sqlalchemy, "create_engine", _create_engine):
        yield


def _create_engine(*args: Any, **kwargs: Any) -> sqlalchemy.Engine:
    engine = _real_create_engine(*args, **kwargs)
    first = _engines.setdefault("first", engine)
    engine.dialect, engine._compiled_cache = first.dialect, first._compiled_cache
    return engine

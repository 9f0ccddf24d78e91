"""Brings the database of an older version forward, a step at a time: `to_3.py` makes schema 3 out of schema 2, and so
on.

A step says what it does in SQL of its own, and never looks at `aggregator.tables`, which will change.
"""

from alembic.operations import Operations
from alembic.runtime.migration import MigrationContext
from sqlalchemy import Connection

from aggregator.migrations import to_3, to_4

OLDEST = 2
_STEPS = {2: to_3.upgrade, 3: to_4.upgrade}
"""By the schema that a step begins with."""


def migrate(connection: Connection, schema: int, target: int) -> None:
    """Take every step from `schema` to `target`, within the caller's transaction."""
    operations = Operations(MigrationContext.configure(connection))
    for step in range(schema, target):
        _STEPS[step](operations)
    operations.execute(f"UPDATE meta SET value = '{target}' WHERE \"key\" = 'schema'")  # noqa: S608 - a number

"""The table `meta`: single numbers that the database remembers. Each function works inside the caller's transaction."""

from sqlalchemy import Connection, select
from sqlalchemy.dialects.sqlite import insert

from aggregator import tables as t


def read_number(connection: Connection, key: str) -> int:
    """What was written; 0 before."""
    return int(connection.scalar(select(t.meta.c.value).where(t.meta.c.key == key)) or 0)


def write_number(connection: Connection, key: str, number: int) -> None:
    """Remember it in the place of the one before."""
    row = {"key": key, "value": str(number)}
    connection.execute(insert(t.meta).values(row).on_conflict_do_update(index_elements=["key"], set_=row))

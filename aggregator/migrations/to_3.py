"""Schema 3: a checksum in every row; which build fused a round; which round's fusion an update is counted in; the
hash of a strategy's state instead of the state. There was none: FedAvg was the only strategy, and remembers nothing.

A round may keep its key after it is closed. SQLite can neither drop a constraint nor add a stored column, so every
table is made anew, from the text of the old one.
"""

from alembic.operations import Operations
from sqlalchemy import text

_TABLES = {
    "meta": "key, value",
    "devices": "id, name, credential, revoked, tls_key, created_at",
    "certificates": "serial, device, certificate, not_after",
    "tokens": "id, secret_hash, name, labels, needs_approval, state, created_at, expires_at, signing, seal, tls_key, "
    "capabilities, device",
    "jobs": "number, id, name, definition, first_version, started_at",
    "rounds": "manifest_version, manifest_hash, manifest, job, round, attempt, phase, round_key, brief_key, model_key, "
    "model_version, target, status, reason, opened_at, closed_at, metrics, strategy_state",
    "invitations": "manifest_version, device, train, evaluate",
    "updates": "manifest_version, device, digest, verdict, reason, samples, train_loss, size_bytes, spool_offset, "
    "spool_length",
    "models": "job_name, version, hash, path, round, devices, samples, metrics",
}
_KEY_ERASED = "\tCONSTRAINT key_erased CHECK (status = 'open' or round_key is null), \n"
_NEW = {"rounds": ("build", "TEXT", "''"), "updates": ("counted_in", "INTEGER", "manifest_version")}
"""Column, type, and what it is in a row of schema 2."""
_LAST_KEY = "FOREIGN KEY(device) REFERENCES devices (id)"
_COUNTED_IN_KEY = "FOREIGN KEY(counted_in) REFERENCES rounds (manifest_version)"


def upgrade(op: Operations) -> None:
    """Make each table anew; foreign keys are off, so that none is missed while it is away."""
    for table, columns in _TABLES.items():
        _rebuild(op, table, columns)
    op.create_index("ix_updates_counted_in", "updates", ["counted_in"])


def _rebuild(op: Operations, table: str, columns: str) -> None:
    connection = op.get_bind()
    query = text("SELECT sql FROM sqlite_master WHERE tbl_name = :table AND sql IS NOT NULL ORDER BY type DESC")
    old, *indexes = connection.execute(query, {"table": table}).scalars().all()
    connection.exec_driver_sql(_new_text(old, table, columns).replace(f"TABLE {table} (", f"TABLE new_{table} (", 1))
    names, values = columns, columns
    if table in _NEW:
        values = columns.replace("strategy_state", "NULL")
        names, values = f"{columns}, {_NEW[table][0]}", f"{values}, {_NEW[table][2]}"
    op.execute(f"INSERT INTO new_{table} ({names}) SELECT {values} FROM {table}")  # noqa: S608 - names of ours
    op.drop_table(table)
    op.rename_table(f"new_{table}", table)
    for index in indexes:
        connection.exec_driver_sql(index)


def _new_text(old: str, table: str, columns: str) -> str:
    """The text of schema 2's table, with the new columns before its constraints."""
    added = ""
    if table in _NEW:
        name, kind, _ = _NEW[table]
        added, columns = f"{name} {kind} NOT NULL, \n\t", f"{columns}, {name}"
    check = f"GENERATED ALWAYS AS (fedloom_row('{table}', {columns})) STORED"
    new = old.replace("\tPRIMARY KEY (", f"\t{added}checksum INTEGER NOT NULL {check}, \n\tPRIMARY KEY (", 1)
    if table == "updates":
        new = new.replace(_LAST_KEY, f"{_LAST_KEY}, \n\t{_COUNTED_IN_KEY}")
    return new.replace(_KEY_ERASED, "")

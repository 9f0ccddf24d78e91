"""Schema 4: labels of a device are its own, begun with those of the token that it joined with last; what a run knows of
its devices for choosing among them, which is nothing yet.
"""

from alembic.operations import Operations
from sqlalchemy import text

_COLUMNS = "id, name, credential, revoked, tls_key, created_at"
_LABELS = """COALESCE((SELECT labels FROM tokens WHERE tokens.device = devices.id
    ORDER BY tokens.created_at DESC LIMIT 1), '{}')"""
_STANDINGS = """CREATE TABLE standings (
	device BLOB NOT NULL,
	samples INTEGER NOT NULL,
	loss FLOAT,
	seconds FLOAT,
	class_counts TEXT NOT NULL,
	asked INTEGER NOT NULL,
	answered INTEGER NOT NULL,
	checksum INTEGER NOT NULL GENERATED ALWAYS AS (
		fedloom_row('standings', device, samples, loss, seconds, class_counts, asked, answered)) STORED,
	PRIMARY KEY (device),
	FOREIGN KEY(device) REFERENCES devices (id)
) WITHOUT ROWID"""


def upgrade(op: Operations) -> None:
    """SQLite cannot add a column to those that a stored one is computed from: `devices` is made anew."""
    connection = op.get_bind()
    query = text("SELECT sql FROM sqlite_master WHERE tbl_name = 'devices' AND sql IS NOT NULL ORDER BY type DESC")
    old, *indexes = connection.execute(query).scalars().all()
    new = old.replace(f"'devices', {_COLUMNS})", f"'devices', {_COLUMNS}, labels)", 1)
    new = new.replace("\tchecksum INTEGER", "\tlabels TEXT NOT NULL, \n\tchecksum INTEGER", 1)
    connection.exec_driver_sql(new.replace('TABLE "devices"', "TABLE devices").replace("TABLE devices", "TABLE new", 1))
    op.execute(f"INSERT INTO new ({_COLUMNS}, labels) SELECT {_COLUMNS}, {_LABELS} FROM devices")  # noqa: S608 - ours
    op.drop_table("devices")
    op.rename_table("new", "devices")
    for index in indexes:
        connection.exec_driver_sql(index)
    connection.exec_driver_sql(_STANDINGS)

"""The tables of the aggregator's database. A round is named by its manifest's version, which never repeats.

Each has one column more than is written here, see `aggregator.row_checks`. What is changed here needs a step in
`aggregator.migrations`.
"""

from sqlalchemy import (
    BLOB,
    Boolean,
    CheckConstraint,
    Column,
    Float,
    ForeignKey,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)

from aggregator.enrolment.states import TokenState
from aggregator.row_checks import add_checksums

SCHEMA_VERSION = 4

metadata = MetaData()

meta = Table("meta", metadata, Column("key", Text, primary_key=True), Column("value", Text, nullable=False))

devices = Table(
    "devices",
    metadata,
    Column("id", BLOB, primary_key=True),
    Column("name", Text, nullable=False, unique=True),
    Column("credential", BLOB, nullable=False),
    Column("revoked", Boolean, nullable=False, default=False),
    Column("tls_key", BLOB, nullable=False, index=True),
    Column("created_at", Float, nullable=False),
    Column("labels", Text, nullable=False, default="{}"),
)
"""`labels`, JSON: those of the token that it joined with last, and what `fedloom device label` has made of them."""

certificates = Table(
    "certificates",
    metadata,
    Column("serial", Text, primary_key=True),
    Column("device", BLOB, ForeignKey("devices.id"), nullable=False, index=True),
    Column("certificate", BLOB, nullable=False),
    Column("not_after", Integer, nullable=False),
)
"""All that were issued to devices for the broker's TLS and have not expired: a revocation list names them by serial."""

tokens = Table(
    "tokens",
    metadata,
    Column("id", BLOB, primary_key=True),
    Column("secret_hash", BLOB, nullable=False),
    Column("name", Text, nullable=False, default=""),
    Column("labels", Text, nullable=False, default="{}"),
    Column("needs_approval", Boolean, nullable=False),
    Column("state", Text, nullable=False, default=TokenState.UNUSED.value),
    Column("created_at", Float, nullable=False),
    Column("expires_at", Integer, nullable=False),
    Column("signing", BLOB),
    Column("seal", BLOB),
    Column("tls_key", BLOB),
    Column("capabilities", Text),
    Column("device", BLOB, ForeignKey("devices.id"), index=True),
    CheckConstraint(f"state in {tuple(each.value for each in TokenState)}"),
    CheckConstraint("(state = 'unused') <= (signing is null)", name="unused_is_unbound"),
    CheckConstraint("(state = 'joined') = (device is not null)", name="joined_has_a_device"),
)
"""Join tokens: one lets in one device, the one whose three public keys came with it first. `name` is empty where the
device may choose, until it has; `labels` and `capabilities` are JSON."""

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", BLOB, nullable=False, unique=True),
    Column("name", Text, nullable=False),
    Column("definition", BLOB, nullable=False),
    Column("first_version", Integer, nullable=False),
    Column("started_at", Float, nullable=False),
)

rounds = Table(
    "rounds",
    metadata,
    Column("manifest_version", Integer, primary_key=True),
    Column("manifest_hash", BLOB, nullable=False),
    Column("manifest", BLOB, nullable=False),
    Column("job", BLOB, ForeignKey("jobs.id"), nullable=False, index=True),
    Column("round", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("phase", Text, nullable=False),
    Column("round_key", BLOB),
    Column("brief_key", BLOB, nullable=False),
    Column("model_key", BLOB),
    Column("model_version", Integer),
    Column("target", Integer, nullable=False),
    Column("status", Text, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("opened_at", Float, nullable=False),
    Column("closed_at", Float),
    Column("metrics", BLOB),
    Column("strategy_state", BLOB),
    Column("build", Text, nullable=False, default=""),
    UniqueConstraint("job", "round", "attempt", "phase"),
    CheckConstraint("status in ('open', 'done', 'aborted')"),
)
"""`round_key` is erased when the round is closed; in an asynchronous job, when no answer to it counts any more.
`strategy_state`: SHA-256 of what the strategy remembers after it, see aggregator.states. `build`: numpy and BLAS that
fused, see aggregator.build."""

invitations = Table(
    "invitations",
    metadata,
    Column("manifest_version", Integer, ForeignKey("rounds.manifest_version"), nullable=False),
    Column("device", BLOB, ForeignKey("devices.id"), nullable=False),
    Column("train", Boolean, nullable=False),
    Column("evaluate", Boolean, nullable=False),
    PrimaryKeyConstraint("manifest_version", "device"),
    sqlite_with_rowid=False,
)

updates = Table(
    "updates",
    metadata,
    Column("manifest_version", Integer, ForeignKey("rounds.manifest_version"), nullable=False),
    Column("device", BLOB, ForeignKey("devices.id"), nullable=False),
    Column("digest", BLOB, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("train_loss", Float, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("spool_offset", Integer),
    Column("spool_length", Integer),
    Column("counted_in", Integer, ForeignKey("rounds.manifest_version"), nullable=False, index=True),
    PrimaryKeyConstraint("manifest_version", "device"),
    sqlite_with_rowid=False,
)
"""The key is (job, round, attempt, device): a device has one answer to each manifest. `counted_in` is the round whose
fusion it belongs to: the same one, or in an asynchronous job the one whose buffer was open when it came."""

standings = Table(
    "standings",
    metadata,
    Column("device", BLOB, ForeignKey("devices.id"), primary_key=True),
    Column("samples", Integer, nullable=False),
    Column("loss", Float),
    Column("seconds", Float),
    Column("class_counts", Text, nullable=False),
    Column("asked", Integer, nullable=False),
    Column("answered", Integer, nullable=False),
    sqlite_with_rowid=False,
)
"""What the newest run knows of its devices for choosing among them, see `aggregator.records.Standing`; `class_counts`
is JSON. Empty where the job's rule does not look."""

models = Table(
    "models",
    metadata,
    Column("job_name", Text, nullable=False),
    Column("version", Integer, nullable=False),
    Column("hash", BLOB, nullable=False),
    Column("path", Text, nullable=False),
    Column("round", Integer, nullable=False),
    Column("devices", Integer, nullable=False),
    Column("samples", Integer, nullable=False),
    Column("metrics", BLOB),
    PrimaryKeyConstraint("job_name", "version"),
)

add_checksums(metadata)

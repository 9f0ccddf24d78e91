"""What a device must remember over a power cut, as one checksummed file.

    offset  bytes
    0       4      "FLS", then the version, 1
    4       …      msgpack of a `DeviceState`
    end-32  32     SHA-256 of all before

The outbox's files have the same shape, with "FLO" and an `OutboxEntry`; residuals with "FLR" and control variates with
"FLC", and float32 numbers.
"""

from hashlib import sha256
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec

from fedloom import msgpack
from fedloom.errors import Refused, StoreError
from fedloom.wire.messages import Count, Hash, HashOrNone, Id

STATE_MAGIC = b"FLS\x01"
OUTBOX_MAGIC = b"FLO\x01"
RESIDUAL_MAGIC = b"FLR\x01"
CONTROL_MAGIC = b"FLC\x01"
NO_HASH = bytes(32)
_DIGEST_BYTES = 32


class DeviceState(msgspec.Struct, frozen=True, array_like=True):
    """The device's memory."""

    device: Id
    incarnation: Annotated[int, msgspec.Meta(ge=0, lt=2**32)]
    """Higher than that of any state that this device has lost."""
    sequence: Count = 0
    """High-water mark: every number below may have been used."""
    manifest_version: Count = 0
    manifest_hash: Hash = NO_HASH
    """Of the last manifest that was accepted."""
    answered: HashOrNone = b""
    """The manifest that this device is done with: its update has a receipt, or its final model is saved."""
    residual: HashOrNone = b""
    """The update whose error-feedback residual is the current one; empty is none."""
    residual_job: HashOrNone = b""
    root_version: Count = 0
    """Of the newest root document that was accepted; an older one beside the keys is not believed."""
    time_floor: Count = 0
    """Seconds since 1970 (UTC): the latest time that an aggregator has signed. It is at least that late."""
    control: HashOrNone = b""
    """The update that has made the current control variate (SCAFFOLD's c_i, FedDyn's g_i); empty: it is zero."""
    control_job: HashOrNone = b""
    offered: HashOrNone = b""
    """The last update that was to make another one: it becomes current if the next task names it as counted."""
    residual_manifest: HashOrNone = b""
    """The manifest that the update of `residual` has answered."""


NO_RESIDUAL = {"residual": b"", "residual_job": b"", "residual_manifest": b""}
"""Of a `DeviceState`."""


class OutboxEntry(msgspec.Struct, frozen=True, array_like=True):
    """An update that waits for its receipt."""

    digest: Hash
    """SHA-256 of `blob`."""
    manifest: Hash
    job: Id
    has_residual: bool
    blob: bytes
    """The sealed envelope; resent as it is."""
    counts_until: Count = 0
    """Version of the newest manifest beside which it still counts; 0: it counts until the next one comes."""
    has_control: bool = False
    is_exchange: bool = False
    """What goes with it is not a residual but the context of an app, which has run, whatever becomes of its reply."""


Record = TypeVar("Record", DeviceState, OutboxEntry)


def to_bytes(magic: bytes, record: DeviceState | OutboxEntry) -> bytes:
    """The content of a record's file."""
    return sealed(magic, msgpack.encode(record))


def from_bytes(magic: bytes, data: bytes, kind: type[Record], path: Path, remedy: str) -> Record:
    """Read a record's file back.

    Raises:
        StoreError: it is not what was written.
    """
    try:
        return msgpack.decode(unsealed(magic, data, path, remedy), kind)
    except Refused as error:
        raise StoreError(f"{path}: is damaged ({error.detail}); {remedy}") from None


def sealed(magic: bytes, content: bytes) -> bytes:
    """A file that notices when it is damaged."""
    return b"".join((magic, content, sha256(magic + content).digest()))


def unsealed(magic: bytes, data: bytes, path: Path, remedy: str) -> bytes:
    """The content of such a file.

    Raises:
        StoreError: it is not what was written.
    """
    content, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not content.startswith(magic):
        raise StoreError(f"{path}: is damaged, or not a file of this version of fedloom-edge; {remedy}")
    if sha256(content).digest() != digest:
        raise StoreError(f"{path}: is damaged, its checksum does not fit; {remedy}")
    return content[len(magic) :]

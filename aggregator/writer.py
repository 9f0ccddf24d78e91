"""Writes what the aggregator signs: manifests, tasks and receipts."""

from collections.abc import Callable
from hashlib import sha256

from aggregator.fleet import Device
from aggregator.records import Answer, Invitation, RoundRecord
from fedloom import msgpack
from fedloom.trust.documents import Root
from fedloom.trust.signing import SigningKey
from fedloom.wire.envelope import Header, Type, write_clear, write_sealed
from fedloom.wire.messages import MAX_TEXT, Manifest, Missing, Receipt, Task

Entropy = Callable[[int], bytes]
"""So many unpredictable bytes."""


class Writer:
    """An aggregator's hand."""

    def __init__(
        self, root: Root, sender: bytes, signing: SigningKey, entropy: Entropy, max_update_bytes: int = 0
    ) -> None:
        """`max_update_bytes`: as in `Task`."""
        self._root = root
        self._sender = sender
        self._signing = signing
        self._entropy = entropy
        self._max_update_bytes = max_update_bytes

    def manifest(self, manifest: Manifest) -> tuple[bytes, bytes]:
        """The signed envelope, and its hash."""
        header = self._header(Type.MANIFEST)._replace(
            job=manifest.job, round=manifest.round, attempt=manifest.attempt, manifest=manifest.previous
        )
        blob = write_clear(header, msgpack.encode(manifest), self._signing)
        return blob, sha256(blob).digest()

    def task(self, device: Device, opened: RoundRecord, invitation: Invitation, counted: bytes) -> bytes:
        """The invitation of one device; `counted` is its last update that is in a model."""
        keys, most = (opened.brief_key, opened.model_key), self._max_update_bytes
        body = Task(invitation.train, invitation.evaluate, *keys, counted, most)
        return self._sealed(Type.TASK, device, place_of(opened), msgpack.encode(body))

    def receipt(self, device: Device, place: Header, answer: Answer, come_back_s: int) -> bytes:
        """The word on an update; `place` holds the job, round, attempt and manifest of the update."""
        body = msgpack.encode(Receipt(answer.digest, answer.verdict, answer.reason[:MAX_TEXT], come_back_s))
        return self._sealed(Type.RECEIPT, device, place, body)

    def missing(self, device: Device, place: Header, transfer: bytes, frames: bytes) -> bytes:
        """Which frames of a transfer have not come; `place` as in `receipt`."""
        return self._sealed(Type.MISSING, device, place, msgpack.encode(Missing(transfer, frames)))

    def _sealed(self, kind: Type, device: Device, place: Header, body: bytes) -> bytes:
        header = self._header(kind)._replace(
            recipient=device.id, job=place.job, round=place.round, attempt=place.attempt, manifest=place.manifest
        )
        return write_sealed(header, body, self._signing, device.recipient)

    def _header(self, kind: Type) -> Header:
        return Header(kind, self._root.federation, self._sender, self._entropy(16))


def place_of(opened: RoundRecord) -> Header:
    """Job, round, attempt and manifest of a round's messages; the rest is blank."""
    return Header(
        Type.UPDATE,
        bytes(16),
        bytes(16),
        bytes(16),
        job=opened.job,
        round=opened.round,
        attempt=opened.attempt,
        manifest=opened.manifest_hash,
    )

"""What a device believes: the checks that a manifest, a task, a receipt and a renewal must pass, cheapest first."""

import math
from functools import lru_cache
from typing import NamedTuple

from edge_client.membership import open_membership
from edge_client.state import DeviceState
from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys
from fedloom.trust.seal import Recipient, SealSuite
from fedloom.trust.signing import VerifyingKey
from fedloom.wire.chunks import Chunks
from fedloom.wire.envelope import MAX_OVERHEAD_BYTES, Envelope, Header, Type, parse
from fedloom.wire.messages import (
    MAX_MANIFEST_BYTES,
    MAX_MEMBERSHIP_BYTES,
    MAX_MISSING_BYTES,
    MAX_RECEIPT_BYTES,
    MAX_TASK_BYTES,
    Manifest,
    Membership,
    Missing,
    Phase,
    Receipt,
    Task,
)

_DOWN_BYTES = {
    Type.TASK: MAX_TASK_BYTES,
    Type.RECEIPT: MAX_RECEIPT_BYTES,
    Type.MISSING: MAX_MISSING_BYTES,
    Type.MEMBERSHIP: MAX_MEMBERSHIP_BYTES,
}
MAX_DOWN_BYTES = max(_DOWN_BYTES.values()) + MAX_OVERHEAD_BYTES


class BelievedManifest(NamedTuple):
    """A manifest of an aggregator that the root vouches for."""

    body: Manifest
    hash: bytes
    is_new: bool
    """False: it is the one that was accepted last, once more."""


class BelievedTask(NamedTuple):
    """A task for this device."""

    body: Task
    header: Header


class Judge:
    """Knows whom this device trusts."""

    def __init__(self, keys: DeviceKeys) -> None:
        self._keys = keys
        self._aggregators = {each.id: VerifyingKey(each.signing) for each in keys.root.aggregators}

    def manifest(self, blob: bytes, state: DeviceState) -> BelievedManifest:
        """Judge a manifest against the last one that was accepted.

        That one itself was believed then: it is known by its hash, even when its signer is no aggregator any more.

        Raises:
            Refused: OLD; CONFLICT: two of one version, or one that does not follow ours; and what an envelope may be.
        """
        envelope = parse(blob, MAX_MANIFEST_BYTES + MAX_OVERHEAD_BYTES)
        header, digest = envelope.header, envelope.digest
        is_new = digest != state.manifest_hash
        if is_new:
            self._authenticate(envelope, (Type.MANIFEST,))
        body = msgpack.decode(envelope.clear(), Manifest)
        if (header.job, header.round, header.attempt) != (body.job, body.round, body.attempt):
            raise Refused(Reason.MALFORMED, "header and body name different rounds")
        if body.suite is not self._keys.root.suite:
            raise Refused(Reason.UNKNOWN_SUITE)
        if is_new:
            _check_order(body, state)
        _check_content(body)
        return BelievedManifest(body, digest, is_new)

    def down(self, blob: bytes) -> BelievedTask | Receipt | Missing | Membership:
        """Open a task, a receipt, a list of missing frames or a word of the registrar that is for this device.

        Raises:
            Refused: what an envelope may be; WRONG_RECIPIENT, CANNOT_OPEN.
        """
        envelope = parse(blob, MAX_DOWN_BYTES)
        header, keys = envelope.header, self._keys
        if len(blob) > _DOWN_BYTES.get(header.type, len(blob)) + MAX_OVERHEAD_BYTES:
            raise Refused(Reason.TOO_LARGE, f"{len(blob)} bytes of {header.type.name}")
        if header.type is Type.MEMBERSHIP:
            return open_membership(envelope, keys.id, keys.seal, keys.root)
        self._authenticate(envelope, (Type.TASK, Type.RECEIPT, Type.MISSING))
        if (header.recipient, header.recipient_key) != (keys.id, keys.seal.id):
            raise Refused(Reason.WRONG_RECIPIENT)
        plain = envelope.open(keys.seal)
        if header.type is Type.RECEIPT:
            return msgpack.decode(plain, Receipt)
        if header.type is Type.MISSING:
            return msgpack.decode(plain, Missing)
        return BelievedTask(msgpack.decode(plain, Task), header)

    def _authenticate(self, envelope: Envelope, kinds: tuple[Type, ...]) -> None:
        """Return if an aggregator of this federation signed it."""
        header = envelope.header
        if header.type not in kinds:
            raise Refused(Reason.UNKNOWN_TYPE, header.type.name)
        if header.federation != self._keys.root.federation:
            raise Refused(Reason.WRONG_FEDERATION)
        key = self._aggregators.get(header.sender)
        if key is None:
            raise Refused(Reason.UNKNOWN_SENDER)
        envelope.verify(key)


def _check_order(manifest: Manifest, state: DeviceState) -> None:
    """Refuse a manifest that does not come after the last one that was accepted."""
    if manifest.version < state.manifest_version:
        raise Refused(Reason.OLD, f"version {manifest.version}, ours is {state.manifest_version}")
    if manifest.version == state.manifest_version:
        raise Refused(Reason.CONFLICT, f"there are two manifests of version {manifest.version}")
    if manifest.version == state.manifest_version + 1 and manifest.previous != state.manifest_hash:
        raise Refused(Reason.CONFLICT, f"version {manifest.version} does not follow the manifest before it")


def _check_content(manifest: Manifest) -> None:
    """Refuse a manifest that cannot be followed, so that nothing after this has to doubt it."""
    needs_model = manifest.phase in (Phase.TRAIN, Phase.EVALUATE, Phase.EXCHANGE)
    if needs_model and manifest.model is None:
        raise Refused(Reason.MALFORMED, f"no model in phase {manifest.phase}")
    if manifest.phase is Phase.STATISTICS and manifest.model is not None:
        raise Refused(Reason.MALFORMED, "a model in the statistics round")
    if not math.isfinite(manifest.deadline_s):
        raise Refused(Reason.MALFORMED, "the deadline is not a number")
    if manifest.model is not None:
        Chunks.checked(manifest.model.chunk_hashes, manifest.model.chunk_bytes, manifest.model.cipher_bytes)
    if manifest.phase is not Phase.DONE:
        round_recipient(manifest.suite, manifest.round_key)


@lru_cache(maxsize=1)  # wanted when the manifest is judged, and again for the update
def round_recipient(suite: SealSuite, round_key: bytes) -> Recipient:
    """The key to which a round's updates are sealed.

    Raises:
        Refused: MALFORMED, it is none.
    """
    try:
        return Recipient(suite, round_key)
    except ValueError:
        raise Refused(Reason.MALFORMED, "the round's key is not one of the suite") from None

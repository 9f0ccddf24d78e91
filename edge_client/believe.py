"""What a device believes: the checks that a manifest, a task and a receipt must pass, cheapest first."""

import math
from functools import lru_cache
from typing import NamedTuple

from edge_client.state import DeviceState
from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.trust.device_keys import DeviceKeys
from fedloom.trust.seal import Recipient, SealSuite
from fedloom.trust.signing import VerifyingKey
from fedloom.wire.chunks import Download
from fedloom.wire.envelope import MAX_OVERHEAD_BYTES, Envelope, Header, Type, parse
from fedloom.wire.messages import MAX_MANIFEST_BYTES, MAX_RECEIPT_BYTES, MAX_TASK_BYTES, Manifest, Phase, Receipt, Task

MAX_DOWN_BYTES = max(MAX_TASK_BYTES, MAX_RECEIPT_BYTES) + MAX_OVERHEAD_BYTES


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

        Raises:
            Refused: OLD; CONFLICT: two of one version, or one that does not follow ours; and what an envelope may be.
        """
        envelope = self._authentic(blob, MAX_MANIFEST_BYTES + MAX_OVERHEAD_BYTES, (Type.MANIFEST,))
        body = msgpack.decode(envelope.clear(), Manifest)
        header, digest = envelope.header, envelope.digest
        if (header.job, header.round, header.attempt) != (body.job, body.round, body.attempt):
            raise Refused(Reason.MALFORMED, "header and body name different rounds")
        if body.suite is not self._keys.root.suite:
            raise Refused(Reason.UNKNOWN_SUITE)
        if body.version < state.manifest_version:
            raise Refused(Reason.OLD, f"version {body.version}, ours is {state.manifest_version}")
        if body.version == state.manifest_version and digest != state.manifest_hash:
            raise Refused(Reason.CONFLICT, f"there are two manifests of version {body.version}")
        if body.version == state.manifest_version + 1 and body.previous != state.manifest_hash:
            raise Refused(Reason.CONFLICT, f"version {body.version} does not follow the manifest before it")
        _check_content(body)
        return BelievedManifest(body, digest, body.version > state.manifest_version)

    def down(self, blob: bytes) -> BelievedTask | Receipt:
        """Open a task or a receipt that is for this device.

        Raises:
            Refused: what an envelope may be; WRONG_RECIPIENT, CANNOT_OPEN.
        """
        envelope = self._authentic(blob, MAX_DOWN_BYTES, (Type.TASK, Type.RECEIPT))
        header = envelope.header
        if (header.recipient, header.recipient_key) != (self._keys.id, self._keys.seal.id):
            raise Refused(Reason.WRONG_RECIPIENT)
        plain = envelope.open(self._keys.seal)
        if header.type is Type.RECEIPT:
            return msgpack.decode(plain, Receipt)
        return BelievedTask(msgpack.decode(plain, Task), header)

    def _authentic(self, blob: bytes, max_bytes: int, kinds: tuple[Type, ...]) -> Envelope:
        """The message, if an aggregator of this federation signed it."""
        envelope = parse(blob, max_bytes)
        if envelope.header.type not in kinds:
            raise Refused(Reason.UNKNOWN_TYPE, envelope.header.type.name)
        if envelope.header.federation != self._keys.root.federation:
            raise Refused(Reason.WRONG_FEDERATION)
        key = self._aggregators.get(envelope.header.sender)
        if key is None:
            raise Refused(Reason.UNKNOWN_SENDER)
        envelope.verify(key)
        return envelope


def _check_content(manifest: Manifest) -> None:
    """Refuse a manifest that cannot be followed, so that nothing after this has to doubt it."""
    needs_model = manifest.phase in (Phase.TRAIN, Phase.EVALUATE)
    if needs_model and manifest.model is None:
        raise Refused(Reason.MALFORMED, f"no model in phase {manifest.phase}")
    if manifest.phase is Phase.STATISTICS and manifest.model is not None:
        raise Refused(Reason.MALFORMED, "a model in the statistics round")
    if not math.isfinite(manifest.deadline_s):
        raise Refused(Reason.MALFORMED, "the deadline is not a number")
    if manifest.model is not None:
        Download(manifest.model.chunk_hashes, manifest.model.chunk_bytes, manifest.model.cipher_bytes)
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

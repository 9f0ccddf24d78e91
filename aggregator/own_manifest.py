"""Reads manifests of our own out of the store, which need no verification."""

from fedloom import msgpack
from fedloom.wire import envelope
from fedloom.wire.messages import MAX_MANIFEST_BYTES, Manifest

_MAX_BYTES = MAX_MANIFEST_BYTES + envelope.MAX_OVERHEAD_BYTES


def own_manifest(blob: bytes) -> Manifest:
    """What it says."""
    return msgpack.decode(envelope.parse(blob, _MAX_BYTES).clear(), Manifest)


def signer_of(blob: bytes) -> bytes:
    """The id of the key that signed it."""
    return envelope.parse(blob, _MAX_BYTES).header.sender_key

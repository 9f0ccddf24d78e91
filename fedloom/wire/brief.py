"""The part of a manifest that is for the invited devices alone: sealed once for all of them, its key in each task."""

from fedloom import msgpack
from fedloom.wire.messages import Brief
from fedloom.wire.once import open_once, seal_once

_DOMAIN = b"fedloom/1/brief"


def seal_brief(brief: Brief, key: bytes) -> bytes:
    """The bytes for the manifest; draw a `key` for each."""
    return seal_once(msgpack.encode(brief), key, _DOMAIN)


def open_brief(cipher: bytes, key: bytes) -> Brief:
    """The brief in a manifest.

    Raises:
        Refused: CANNOT_OPEN or MALFORMED.
    """
    return msgpack.decode(open_once(cipher, key, _DOMAIN), Brief)

"""The round that a hostile device was invited to, and a pen that writes whatever it likes into it."""

from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from fedloom import msgpack
from fedloom.trust.seal import Recipient
from fedloom.wire import encoding as codec
from fedloom.wire.envelope import Header, Type
from fedloom.wire.messages import Phase

CLEAR = object()
"""Seals to nobody."""


class Target(NamedTuple):
    """The round that the device was invited to."""

    device: Any

    @property
    def encoding(self) -> str:
        return self.device.brief().encoding

    @property
    def size(self) -> int:
        return self.device.brief().spec.layout().size

    @property
    def recipient(self) -> Recipient:
        return Recipient(self.device.manifest.suite, self.device.manifest.round_key)

    def header(self, **changes: Any) -> Header:
        manifest = self.device.manifest
        fields = {
            "job": manifest.job,
            "round": manifest.round,
            "attempt": manifest.attempt,
            "manifest": self.device.manifest_hash,
            "encoding": codec.CODES[self.encoding] if manifest.phase is Phase.TRAIN else 0,
            "suite": manifest.suite,
            "sender_key": self.device.keys.signing.id,
            "recipient_key": self.recipient.id,
        } | changes
        return Header(Type.UPDATE, self.device.keys.root.federation, self.device.id, bytes(16))._replace(**fields)

    def vector(self, fill: float = 0.001) -> bytes:
        return codec.encode(np.full(self.size, fill, np.float32), self.encoding, self.device.brief().options)

    def update(self, **changes: Any) -> bytes:
        """The body of a good update, but for `changes`."""
        fields = {"samples": 1, "steps": 1, "train_loss": 0.5, "vector": self.vector(), "metrics": b"", "declined": ""}
        return msgpack.encode(list((fields | changes).values()))


def write(target: Target, body: bytes, *, signer=None, recipient=None, edit=None, **changes: Any) -> bytes:
    """An envelope in which nothing is checked: any header, sealed to anybody, signed by anybody, edited before that."""
    header = target.header(plain_length=len(body))._replace(**changes)
    head = bytearray(header.pack())
    for offset, value in (edit or {}).items():
        head[offset : offset + len(value)] = value
    info = b"fedloom/1/env" + sha256(head).digest()
    sealed = body if recipient is CLEAR else (recipient or target.recipient).seal(body, info)
    signed = bytes(head) + sealed
    return signed + (signer or target.device.keys.signing).sign(b"fedloom/1/sig", signed)

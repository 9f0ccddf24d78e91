"""The model as it is broadcast: sealed once for everybody with a key of its own, cut into content-addressed chunks.

    plain = p weights, then (where the job standardises) d shifts and d scales, all float32 little-endian
    cipher = AES-256-GCM(key, nonce = 0, plain, associated data = "fedloom/1/model")

A key is drawn for each model and used for this one message, so the constant nonce never repeats under it. It reaches
each invited device in its task; a device that was revoked gets none for the next model.
"""

from hashlib import sha256
from typing import NamedTuple

import numpy as np
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Standardiser
from fedloom.wire.chunks import chunk_hashes
from fedloom.wire.messages import ModelRef

MODEL_KEY_BYTES = 32
CHUNK_BYTES = 96 * 1024
"""Leaves room in AWS IoT Core's 128 KB for topic and packet header."""
_NONCE = bytes(12)
_ASSOCIATED = b"fedloom/1/model"


class SealedModel(NamedTuple):
    """A model ready to be broadcast."""

    ref: ModelRef
    cipher: bytes

    def chunk(self, number: int) -> bytes:
        """Chunk `number` of `ref.chunk_hashes`."""
        start = number * self.ref.chunk_bytes
        return self.cipher[start : start + self.ref.chunk_bytes]


def plain_model(weights: Vector, standardiser: Standardiser | None) -> bytes:
    """The bytes that are hashed, sealed and sent."""
    parts = [weights] if standardiser is None else [weights, standardiser.shift, standardiser.scale]
    return b"".join(part.astype("<f4", copy=False).tobytes() for part in parts)


def seal_model(plain: bytes, version: int, key: bytes) -> SealedModel:
    """Seal `plain` under a `key` that is used for nothing else."""
    cipher = AESGCM(key).encrypt(_NONCE, plain, _ASSOCIATED)
    hashes = tuple(chunk_hashes(cipher, CHUNK_BYTES))
    ref = ModelRef(version, sha256(plain).digest(), sha256(cipher).digest(), len(cipher), CHUNK_BYTES, hashes)
    return SealedModel(ref, cipher)


def open_model(
    cipher: bytes, ref: ModelRef, key: bytes, weights: int, inputs: int | None
) -> tuple[Vector, Standardiser | None]:
    """The weights (p,) and, with `inputs` features, the standardiser in `cipher`.

    Raises:
        Refused: CANNOT_OPEN, HASH_MISMATCH, WRONG_LENGTH or NON_FINITE.
    """
    try:
        plain = AESGCM(key).decrypt(_NONCE, cipher, _ASSOCIATED)
    except (InvalidTag, ValueError):
        raise Refused(Reason.CANNOT_OPEN) from None
    if sha256(plain).digest() != ref.plain_hash:
        raise Refused(Reason.HASH_MISMATCH)
    if len(plain) != 4 * (weights + 2 * (inputs or 0)):
        raise Refused(Reason.WRONG_LENGTH, "the model does not fit its layout")
    flat = np.frombuffer(plain, "<f4").astype(np.float32)
    if not np.isfinite(flat).all():
        raise Refused(Reason.NON_FINITE)
    if inputs is None:
        return flat, None
    return flat[:weights].copy(), Standardiser(flat[weights : weights + inputs], flat[weights + inputs :])

"""The model as it is broadcast: sealed once for everybody with a key of its own, cut into content-addressed chunks.

    plain = p weights, then (where the job standardises) d shifts and d scales, all float32 little-endian
    cipher = seal_once(plain, key, "fedloom/1/model"), see fedloom.wire.once

The key reaches each invited device in its task; a device that was revoked gets none for the next model.
"""

from hashlib import sha256
from typing import NamedTuple

import numpy as np

from fedloom.errors import Reason, Refused
from fedloom.job import CHUNK_BYTES
from fedloom.learning.layout import Vector
from fedloom.learning.standardise import Standardiser
from fedloom.wire.chunks import chunk_at, chunk_hashes
from fedloom.wire.messages import ModelRef
from fedloom.wire.once import open_once, seal_once

_DOMAIN = b"fedloom/1/model"


class SealedModel(NamedTuple):
    """A model ready to be broadcast."""

    ref: ModelRef
    cipher: bytes

    def chunk(self, number: int) -> bytes:
        """Chunk `number` of `ref.chunk_hashes`."""
        return chunk_at(self.cipher, self.ref.chunk_bytes, number)


def plain_model(weights: Vector, standardiser: Standardiser | None) -> bytes:
    """The bytes that are hashed, sealed and sent."""
    parts = [weights] if standardiser is None else [weights, standardiser.shift, standardiser.scale]
    return b"".join(part.astype("<f4", copy=False).tobytes() for part in parts)


def model_hash(weights: Vector, standardiser: Standardiser | None) -> bytes:
    """SHA-256 of the plain model: its name in manifests and in the aggregator's store."""
    return sha256(plain_model(weights, standardiser)).digest()


def seal_model(plain: bytes, version: int, key: bytes, chunk_bytes: int = CHUNK_BYTES) -> SealedModel:
    """Seal `plain` under a `key` that is used for nothing else."""
    cipher = seal_once(plain, key, _DOMAIN)
    hashes = chunk_hashes(cipher, chunk_bytes)
    ref = ModelRef(version, sha256(plain).digest(), sha256(cipher).digest(), len(cipher), chunk_bytes, hashes)
    return SealedModel(ref, cipher)


def open_model(
    cipher: bytes, ref: ModelRef, key: bytes, weights: int, inputs: int | None
) -> tuple[Vector, Standardiser | None]:
    """The weights (p,) and, with `inputs` features, the standardiser in `cipher`.

    Raises:
        Refused: CANNOT_OPEN, HASH_MISMATCH, WRONG_LENGTH or NON_FINITE.
    """
    plain = open_once(cipher, key, _DOMAIN)
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

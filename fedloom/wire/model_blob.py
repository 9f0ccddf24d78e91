"""The model as it is broadcast: sealed once for everybody with a key of its own, cut into content-addressed chunks.

    model   = p weights, then (where the job standardises) d shifts and d scales, all float32 little-endian
    control = p numbers, likewise: the server's control variate, where the strategy has one; else nothing
    cipher  = seal_once(model ‖ control, key, "fedloom/1/model"), see fedloom.wire.once

Each has a hash of its own in the manifest, so that a model has one name, whatever travels beside it.
The key reaches each invited device in its task; a device that was revoked gets none for the next model.
"""

from hashlib import sha256
from typing import NamedTuple

import numpy as np

from fedloom.errors import Reason, Refused
from fedloom.job.updates import CHUNK_BYTES
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


def seal_model(
    plain: bytes, version: int, key: bytes, chunk_bytes: int = CHUNK_BYTES, control: bytes = b""
) -> SealedModel:
    """Seal `plain`, and the variate that goes with it, under a `key` that is used for nothing else."""
    cipher = seal_once(plain + control, key, _DOMAIN)
    ref = ModelRef(
        version=version,
        plain_hash=sha256(plain).digest(),
        cipher_hash=sha256(cipher).digest(),
        cipher_bytes=len(cipher),
        chunk_bytes=chunk_bytes,
        chunk_hashes=chunk_hashes(cipher, chunk_bytes),
        control_hash=sha256(control).digest() if control else b"",
    )
    return SealedModel(ref, cipher)


def open_plain(cipher: bytes, ref: ModelRef, key: bytes) -> bytes:
    """What was sealed: in an exchange the request, which takes the model's place.

    Raises:
        Refused: CANNOT_OPEN or HASH_MISMATCH.
    """
    plain = open_once(cipher, key, _DOMAIN)
    if sha256(plain).digest() != ref.plain_hash:
        raise Refused(Reason.HASH_MISMATCH)
    return plain


class OpenedModel(NamedTuple):
    """What was sealed."""

    weights: Vector
    """(p,)."""
    standardiser: Standardiser | None
    control: Vector | None
    """(p,): the server's control variate."""


def open_model(cipher: bytes, ref: ModelRef, key: bytes, weights: int, inputs: int | None) -> OpenedModel:
    """What is in `cipher`: so many weights, with `inputs` features a standardiser, and what else `ref` has a hash of.

    Raises:
        Refused: CANNOT_OPEN, HASH_MISMATCH, WRONG_LENGTH or NON_FINITE.
    """
    plain = open_once(cipher, key, _DOMAIN)
    size, control_size = weights + 2 * (inputs or 0), weights if ref.control_hash else 0
    split = max(0, len(plain) - 4 * control_size)
    model, control = memoryview(plain)[:split], memoryview(plain)[split:]
    if sha256(model).digest() != ref.plain_hash or (control_size and sha256(control).digest() != ref.control_hash):
        raise Refused(Reason.HASH_MISMATCH)
    if len(plain) != 4 * (size + control_size):
        raise Refused(Reason.WRONG_LENGTH, "the model does not fit its layout")
    flat = np.frombuffer(plain, "<f4").astype(np.float32)
    if not np.isfinite(flat).all():
        raise Refused(Reason.NON_FINITE)
    common = flat[size:].copy() if control_size else None
    if inputs is None:
        return OpenedModel(flat if common is None else flat[:size].copy(), None, common)
    standardiser = Standardiser(flat[weights : weights + inputs], flat[weights + inputs : size])
    return OpenedModel(flat[:weights].copy(), standardiser, common)

"""How a client update's vector becomes bytes, and back, in memory bounded on both sides.

    code  name     bytes for p weights
    1     float32  4·p, little-endian
    2     float16  2·p, little-endian; magnitudes over 65,504 saturate
    3     int8     ⌈p/1024⌉ float32 scales, then p signed bytes: w ≈ scale of its block of 1,024 × byte
    4     eden     about p·b/8, see fedloom.wire.encodings.eden
    5     topk     about k·(3 + log₂(p/k))/8, see fedloom.wire.encodings.topk
    6     int4     about p/2, see fedloom.wire.encodings.int4
    7     sign     about p/8, see fedloom.wire.encodings.sign

The device carries what an encoding lost into its next update (error feedback: Seide et al. 2014, 1-bit SGD;
Karimireddy et al. 2019, arXiv:1901.09847), so that coarse steps do not bias the model.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from fedloom.compression import Encoding, EncodingOptions
from fedloom.errors import Reason, Refused
from fedloom.learning.layout import Vector
from fedloom.wire.encodings import eden, int4, sign, topk
from fedloom.wire.encodings.scales import BLOCK, scales_bytes

CODES: dict[Encoding, int] = {"float32": 1, "float16": 2, "int8": 3, "eden": 4, "topk": 5, "int4": 6, "sign": 7}
NAMES: dict[int, Encoding] = {code: name for name, code in CODES.items()}
_FLOAT16_MAX = 65504.0


class _Codec(Protocol):
    """An encoding in a file of its own."""

    def encoded_bytes(self, size: int, options: EncodingOptions) -> int: ...

    def encode(self, vector: Vector, options: EncodingOptions, seed: int) -> bytes: ...

    def decode(self, data: bytes | memoryview, out: Vector) -> None: ...


_CODECS: dict[Encoding, _Codec] = {"eden": eden, "topk": topk, "int4": int4, "sign": sign}
_NO_OPTIONS = EncodingOptions()


def encoded_bytes(encoding: Encoding, size: int, options: EncodingOptions = _NO_OPTIONS) -> int:
    """The exact length of `size` weights: it does not depend on what they are."""
    if codec := _CODECS.get(encoding):
        return codec.encoded_bytes(size, options)
    if encoding == "int8":
        return scales_bytes(size) + size
    return size * (2 if encoding == "float16" else 4)


def encode(vector: Vector, encoding: Encoding, options: EncodingOptions = _NO_OPTIONS, seed: int = 0) -> bytes:
    """The bytes of `vector` (p,); not finite stays not finite, for the receiver to refuse.

    `seed` is for encodings that draw something; let it be another one for each device and round.

    Raises:
        ValueError: the encoding has no such options.
    """
    if codec := _CODECS.get(encoding):
        with np.errstate(invalid="ignore", over="ignore"):  # not finite: the scale says so to the receiver
            return codec.encode(vector, options, seed)
    if encoding == "float32":
        return vector.astype("<f4", copy=False).tobytes()
    if encoding == "float16":
        half: NDArray[np.float16] = np.clip(vector, -_FLOAT16_MAX, _FLOAT16_MAX).astype("<f2")
        return half.tobytes()
    blocks = _blocks(vector)
    scales: NDArray[np.float32] = (np.abs(blocks).max(axis=1) / np.float32(127)).astype("<f4")
    # A block whose scale underflows is sent as zeros; its values stay in the error feedback.
    scales[scales < np.finfo(np.float32).tiny] = 0
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales != 0)
    with np.errstate(invalid="ignore", over="ignore"):  # not finite: the scale says so to the receiver
        steps = np.clip(np.rint(blocks * inverse[:, None]), -127, 127).astype(np.int8)
    return scales.tobytes() + steps.reshape(-1)[: vector.size].tobytes()


def decode(data: bytes | memoryview, encoding: Encoding, out: Vector) -> None:
    """Write the vector in `data` into `out` (p,), with O(p) more memory, whatever the bytes say.

    Raises:
        Refused: WRONG_LENGTH, MALFORMED, or NON_FINITE where a value is NaN or infinite.
    """
    if codec := _CODECS.get(encoding):
        with np.errstate(invalid="ignore", over="ignore"):
            codec.decode(data, out)
    elif len(data) != encoded_bytes(encoding, out.size):
        raise Refused(Reason.WRONG_LENGTH, f"{len(data)} bytes of {encoding} for {out.size} weights")
    elif encoding == "float32":
        out[:] = np.frombuffer(data, "<f4")
    elif encoding == "float16":
        out[:] = np.frombuffer(data, "<f2")
    else:
        _decode_int8(data, out)
    if not np.isfinite(out).all():
        raise Refused(Reason.NON_FINITE)


def _decode_int8(data: bytes | memoryview, out: Vector) -> None:
    count = -(-out.size // BLOCK)
    scales = np.frombuffer(data, "<f4", count)
    steps = np.frombuffer(data, np.int8, out.size, 4 * count)
    if not np.isfinite(scales).all():
        raise Refused(Reason.NON_FINITE, "a scale")
    whole = out.size // BLOCK * BLOCK
    np.multiply(steps[:whole].reshape(-1, BLOCK), scales[: whole // BLOCK, None], out=out[:whole].reshape(-1, BLOCK))
    if whole < out.size:
        np.multiply(steps[whole:], scales[-1], out=out[whole:])


def _blocks(vector: Vector) -> NDArray[np.float32]:
    """(⌈p/BLOCK⌉, BLOCK), the last row filled up with zeros."""
    count = -(-vector.size // BLOCK)
    if vector.size == count * BLOCK:
        return vector.reshape(count, BLOCK)
    padded = np.zeros(count * BLOCK, np.float32)
    padded[: vector.size] = vector
    return padded.reshape(count, BLOCK)

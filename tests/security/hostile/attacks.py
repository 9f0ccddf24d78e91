"""What a device with valid keys may send, and the reason for which each must be refused.

`answered`: it is signed by the device itself, so it gets a receipt with the reason; all else is dropped and counted.
"""

import struct
from collections.abc import Callable
from hashlib import sha256
from typing import Any, NamedTuple

import numpy as np

from fedloom import msgpack
from fedloom.errors import Reason
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SigningKey
from fedloom.wire import encoding as codec
from fedloom.wire.chunks import split
from fedloom.wire.encodings.hadamard import block_sizes
from fedloom.wire.encodings.scales import scales_bytes
from fedloom.wire.envelope import HEADER_BYTES, MAX_OVERHEAD_BYTES, MSGPACK, Type
from hostile.target import CLEAR, Target, write

MAX_SAMPLES = 1000
"""Of the rig's job."""
_PLAIN_OVERHEAD = 4096
FRAME_BYTES = 2000
"""So that an update takes some frames, and fewer than the throttle lets through at once."""
OTHER = SigningKey(b"\x55" * 32)
SUITE_OFFSET, VERSION_OFFSET, TYPE_OFFSET, CONTENT_OFFSET, PLAIN_LENGTH_OFFSET = 4, 3, 5, 6, 156


class Attack(NamedTuple):
    """Messages of one device on its own topic; the last one is refused for `reason`, the others are taken."""

    name: str
    reason: Reason
    answered: bool
    make: Callable[[Any], list[bytes]]


def _signed(name: str, reason: Reason, make: Callable[[Target], bytes]) -> Attack:
    return Attack(name, reason, True, lambda device: [make(Target(device))])


def _dropped(name: str, reason: Reason, make: Callable[[Target], bytes | list[bytes]]) -> Attack:
    def made(device: Any) -> list[bytes]:
        messages = make(Target(device))
        return messages if isinstance(messages, list) else [messages]

    return Attack(name, reason, False, made)


def _body(name: str, reason: Reason, **changes: Any) -> Attack:
    """A good update but for some fields; a function of the target makes a value that depends on it."""
    return _signed(
        name, reason, lambda t: write(t, t.update(**{k: v(t) if callable(v) else v for k, v in changes.items()}))
    )


def _header(name: str, reason: Reason, answered: bool = False, **changes: Any) -> Attack:
    """A good update under another header."""
    return Attack(name, reason, answered, lambda d: [write(Target(d), Target(d).update(), **changes)])


def _filled(value: float) -> Callable[[Target], bytes]:
    """A vector that is one value all over, or all of whose scales are that."""

    def vector(target: Target) -> bytes:
        data, (start, end, kind) = bytearray(target.vector()), _floats(target)
        with np.errstate(over="ignore"):
            data[start:end] = np.full((end - start) // np.dtype(kind).itemsize, value, kind).tobytes()
        return bytes(data)

    return vector


def _last(value: float) -> Callable[[Target], bytes]:
    """A good vector but for the last weight, or the last scale."""

    def vector(target: Target) -> bytes:
        data, (_, end, kind) = bytearray(target.vector()), _floats(target)
        bad = np.array([value], kind).tobytes()
        data[end - len(bad) : end] = bad
        return bytes(data)

    return vector


def _floats(target: Target) -> tuple[int, int, str]:
    """Where in a vector the floating-point numbers begin and end, and which they are."""
    return {
        "float32": (0, 4 * target.size, "<f4"),
        "float16": (0, 2 * target.size, "<f2"),
        "int8": (0, scales_bytes(target.size), "<f4"),
        "int4": (0, scales_bytes(target.size), "<f4"),
        "sign": (0, scales_bytes(target.size), "<f4"),
        "eden": (5, 5 + 4 * len(block_sizes(target.size)), "<f4"),
        "topk": (4, 8, "<f4"),
    }[target.encoding]


def _other_encoding(target: Target) -> str:
    return "float16" if target.encoding == "int8" else "int8"


def _confused(target: Target) -> bytes:
    """The bytes of another encoding, under the header of the right one."""
    return write(target, target.update(vector=codec.encode(np.zeros(target.size, np.float32), _other_encoding(target))))


def _admitted_otherwise(target: Target) -> bytes:
    other = _other_encoding(target)
    vector = codec.encode(np.zeros(target.size, np.float32), other)
    return write(target, target.update(vector=vector), encoding=codec.CODES[other])


def _raw(name: str, body: bytes) -> Attack:
    """A body that is no update at all."""
    return _signed(name, Reason.MALFORMED, lambda t: write(t, body))


def _claim(field: int, marker: bytes) -> bytes:
    """An update whose field number `field` is a msgpack marker that claims more than there is."""
    fields = [b"\x01", b"\x01", b"\xcb" + bytes(8), b"\xc4\x00", b"\xc4\x00", b"\xa0"]
    return b"\x96" + b"".join(fields[:field]) + marker


def _oversized(target: Target) -> bytes:
    """A body above the cap in an envelope below it."""
    return write(target, target.update(metrics=bytes(_PLAIN_OVERHEAD + 100)))


def _frames(target: Target) -> list[bytes]:
    return split(write(target, target.update()), FRAME_BYTES)


def _frame(count: int, total: int, index: int = 0, size: int = 800, version: int = 1) -> bytes:
    return struct.pack(">3sB16sHHI", b"FLF", version, bytes([size % 251] * 16), index, count, total) + bytes(size)


def _spoiled(target: Target) -> list[bytes]:
    """Frames that do not make up the blob announced."""
    *rest, last = _frames(target)
    return [*rest, last[:-1] + bytes([last[-1] ^ 1])]


def _question(count: int, total: int, version: int = 1) -> bytes:
    return struct.pack(">3sB16sHI", b"FLQ", version, bytes(16), count, total)


def _wrong_plain_length(target: Target) -> bytes:
    body = target.update()
    return write(target, body, plain_length=len(body) - 1)


def _downgraded(target: Target) -> bytes:
    """Sealed with the suite that this federation does not use, whichever that is."""
    other = SealSuite.X25519 if target.device.manifest.suite is SealSuite.HYBRID else SealSuite.HYBRID
    return write(target, target.update(), recipient=Recipient(other, SealKey.generate(other).public), suite=other)


def _stranger(target: Target) -> Recipient:
    """The key of another round."""
    suite = target.device.manifest.suite
    return Recipient(suite, SealKey.generate(suite).public)


def _neighbour(target: Target) -> Recipient:
    """A device's key: the attacker's own will do for one that is not the round's."""
    return Recipient(target.device.manifest.suite, target.device.keys.seal.public)


MALFORMED = [
    _dropped("nothing", Reason.MALFORMED, lambda t: b""),
    _dropped("noise", Reason.MALFORMED, lambda t: sha256(b"noise").digest() * 20),
    _dropped("half a header", Reason.MALFORMED, lambda t: write(t, t.update())[: HEADER_BYTES // 2]),
    _dropped("cut in the body", Reason.WRONG_LENGTH, lambda t: write(t, t.update())[: HEADER_BYTES + 100]),
    _dropped("a byte flipped", Reason.BAD_SIGNATURE, lambda t: _flipped(write(t, t.update()))),
    _raw("no msgpack", b"\xc1" * 40),
    _raw("an empty body", b""),
    _raw("another type", msgpack.encode({"samples": 1})),
    _raw("a field missing", msgpack.encode([1, 1, 0.5, b"", b""])),
    _raw("text that is not UTF-8", b"\x96\x01\x01\xcb" + bytes(8) + b"\xc4\x00\xc4\x00\xa2\xff\xfe"),
    _raw("an integer beyond 64 bits", b"\x96\xc7\x10\x01" + b"\xff" * 16),
    _signed("bytes behind the body", Reason.MALFORMED, lambda t: write(t, t.update() + b"\x00")),
    _signed("a reason too long", Reason.MALFORMED, lambda t: write(t, t.update(declined="x" * 301))),
    _body("samples below zero", Reason.MALFORMED, samples=-1),
    _body("samples that are a text", Reason.MALFORMED, samples="1"),
    _body("samples that are a fraction", Reason.MALFORMED, samples=1.5),
    _body("a loss that is a truth", Reason.MALFORMED, train_loss=True),
]

BOMBS = [
    _raw("arrays in arrays", b"\x91" * 4000 + b"\xc0"),
    _raw("maps in maps", b"\x81\xc0" * 2000 + b"\xc0"),
    _raw("an array that claims 4 Gi elements", b"\xdd\xff\xff\xff\xff"),
    _raw("a map that claims 4 Gi elements", b"\xdf\xff\xff\xff\xff"),
    _raw("a vector that claims 4 GiB", _claim(3, b"\xc6\xff\xff\xff\xff")),
    _raw("metrics that claim 4 GiB", _claim(4, b"\xc6\xff\xff\xff\xff")),
    _raw("a text that claims 4 GiB", _claim(5, b"\xdb\xff\xff\xff\xff")),
    _raw("an extension that claims 4 GiB", b"\xc9\xff\xff\xff\xff\x01"),
    _signed("4,000 elements more", Reason.MALFORMED, lambda t: write(t, b"\xdc\x0f\xa0" + b"\xc0" * 4000)),
    _header("a plain length of 4 GiB", Reason.WRONG_LENGTH, edit={PLAIN_LENGTH_OFFSET: b"\xff" * 4}),
    _header("a plain length of nothing", Reason.WRONG_LENGTH, edit={PLAIN_LENGTH_OFFSET: bytes(4)}),
    _signed("a plain length that is wrong by one", Reason.WRONG_LENGTH, _wrong_plain_length),
    _dropped("frames that claim 4 GiB", Reason.TOO_LARGE, lambda t: _frame(0xFFFF, 0xFFFFFFFF)),
    _dropped("65,535 frames", Reason.MALFORMED, lambda t: _frame(0xFFFF, 4000)),
    _dropped("no frames", Reason.MALFORMED, lambda t: _frame(0, 4000)),
    _dropped("a frame beyond the last", Reason.MALFORMED, lambda t: _frame(2, 1600, index=2)),
]

OVERSIZED = [
    _dropped("an envelope above the cap", Reason.TOO_LARGE, lambda t: _padded(t, 20_000)),
    _dropped("a megabyte", Reason.TOO_LARGE, lambda t: _padded(t, 2**20)),
    _signed("a body above the cap", Reason.TOO_LARGE, _oversized),
]

FRAMES = [
    _dropped("frames of something else", Reason.HASH_MISMATCH, _spoiled),
    _dropped("a question about 4 GiB", Reason.TOO_LARGE, lambda t: _question(0xFFFF, 0xFFFFFFFF)),
    _dropped("a question about 65,535 frames", Reason.MALFORMED, lambda t: _question(0xFFFF, 4000)),
    _dropped("a question of a later version", Reason.UNKNOWN_VERSION, lambda t: _question(2, 1600, version=2)),
    _dropped("a long question", Reason.MALFORMED, lambda t: _question(2, 1600) + bytes(1000)),
    _dropped("a frame cut short", Reason.WRONG_LENGTH, lambda t: _frame(2, 1600)[:-1]),
    _dropped("a frame of a later version", Reason.UNKNOWN_VERSION, lambda t: _frame(2, 1600, version=2)),
    Attack("good frames of a bad update", Reason.SAMPLES_EXCEEDED, True,
           lambda d: split(write(Target(d), Target(d).update(samples=MAX_SAMPLES + 1)), FRAME_BYTES)),
]  # fmt: skip

VALUES = [
    _body("NaN", Reason.NON_FINITE, vector=_filled(np.nan)),
    _body("infinity", Reason.NON_FINITE, vector=_filled(np.inf)),
    _body("one NaN at the end", Reason.NON_FINITE, vector=_last(np.nan)),
    _body("one infinity at the end", Reason.NON_FINITE, vector=_last(-np.inf)),
    _body("a norm above the cap", Reason.NORM_EXCEEDED, vector=_filled(2000.0)),
    _body("one weight too few", Reason.WRONG_LENGTH, vector=lambda t: t.vector()[:-1]),
    _body("one weight too many", Reason.WRONG_LENGTH, vector=lambda t: t.vector() + b"\x00" * 4),
    _body("another layout", Reason.WRONG_LENGTH, vector=lambda t: t.vector()[: len(t.vector()) // 2]),
    _body("no vector", Reason.WRONG_LENGTH, vector=b""),
    _body("one sample above the cap", Reason.SAMPLES_EXCEEDED, samples=MAX_SAMPLES + 1),
    _body("2 to the 63 samples", Reason.SAMPLES_EXCEEDED, samples=2**63),
    _body("2 to the 64 samples, less one", Reason.SAMPLES_EXCEEDED, samples=2**64 - 1),
    _body("one step more than planned", Reason.STEPS_EXCEEDED, steps=lambda t: t.device.brief().plan.steps(1) + 1),
    _body("2 to the 64 steps, less one", Reason.STEPS_EXCEEDED, steps=2**64 - 1),
    _body("a loss that is no number", Reason.NON_FINITE, train_loss=float("nan")),
    _body("an infinite loss", Reason.NON_FINITE, train_loss=float("-inf")),
    _body("a loss that spoils every sum", Reason.NON_FINITE, train_loss=1.7e308),
    _body("a loss that no sample can have", Reason.NON_FINITE, train_loss=1e39),
    _body("a loss below zero", Reason.NON_FINITE, train_loss=-1e-9),
    _body("a loss of no sample", Reason.NON_FINITE, samples=0, steps=0, train_loss=1.0),
    _body("metrics that were not asked for", Reason.BAD_METRICS, metrics=np.ones(6, "<f8").tobytes()),
    _signed("the bytes of another encoding", Reason.WRONG_LENGTH, _confused),
    _signed("another encoding, and it says so", Reason.WRONG_ENCODING, _admitted_otherwise),
    _header("no encoding", Reason.WRONG_ENCODING, True, encoding=0),
    _header("an encoding that there is not", Reason.WRONG_ENCODING, True, encoding=77),
]

PLACES = [
    _header("another job", Reason.WRONG_JOB, job=bytes(16)),
    _header("the next round", Reason.WRONG_ROUND, round=2),
    _header("the last round that there can be", Reason.WRONG_ROUND, round=2**32 - 1),
    _header("the next attempt", Reason.WRONG_ROUND, attempt=2),
    _header("another manifest", Reason.WRONG_MANIFEST, manifest=bytes(32)),
    _header("another manifest's next round", Reason.WRONG_ROUND, manifest=bytes(32), round=2),
    _header("another federation", Reason.WRONG_FEDERATION, federation=bytes(16)),
    _header("a sender that is somebody else", Reason.WRONG_TOPIC, sender=b"\x01" * 16),
    _header("another kind of message", Reason.UNKNOWN_TYPE, type=Type.RECEIPT),
    _header("a kind that there is not", Reason.UNKNOWN_TYPE, edit={TYPE_OFFSET: b"\x63"}),
    _header("a content that there is not", Reason.UNKNOWN_TYPE, edit={CONTENT_OFFSET: bytes([MSGPACK + 1])}),
    _header("a later version", Reason.UNKNOWN_VERSION, edit={VERSION_OFFSET: b"\x02"}),
]

KEYS = [
    _header("a suite that there is not", Reason.UNKNOWN_SUITE, edit={SUITE_OFFSET: b"\x09"}),
    _header("in clear", Reason.UNKNOWN_SUITE, True, recipient=CLEAR, suite=SealSuite.CLEAR),
    _signed("the other suite", Reason.UNKNOWN_SUITE, _downgraded),
    _header("the suite byte of clear text", Reason.UNKNOWN_SUITE, True, edit={SUITE_OFFSET: b"\x00"}),
    _dropped("sealed to another round", Reason.WRONG_RECIPIENT, lambda t: _sealed_to(t, _stranger(t), honest=True)),
    _signed("sealed to another round in secret", Reason.CANNOT_OPEN, lambda t: _sealed_to(t, _stranger(t))),
    _signed("sealed to a device", Reason.CANNOT_OPEN, lambda t: _sealed_to(t, _neighbour(t))),
    _dropped(
        "sealed to a device, and it says so", Reason.WRONG_RECIPIENT, lambda t: _sealed_to(t, _neighbour(t), True)
    ),
    _header("signed by another key, and it says so", Reason.UNKNOWN_KEY, signer=OTHER, sender_key=OTHER.id),
    _header("signed by another key", Reason.BAD_SIGNATURE, signer=OTHER),
    _signed("the header of another message", Reason.CANNOT_OPEN, lambda t: _spliced(t)),
]

ATTACKS = [*MALFORMED, *BOMBS, *OVERSIZED, *FRAMES, *VALUES, *PLACES, *KEYS]

LARGE = {
    "float32": _body("finite, but large", Reason.NORM_EXCEEDED, vector=_filled(3e38)),
    "float16": _body("finite, but large", Reason.NORM_EXCEEDED, vector=_filled(65504.0)),
    "int8": _body("a finite scale whose product is not", Reason.NON_FINITE, vector=_filled(3e38)),
    "int4": _body("a finite scale whose product is not", Reason.NON_FINITE, vector=_filled(3e38)),
    "sign": _body("a magnitude that is finite, but large", Reason.NORM_EXCEEDED, vector=_filled(3e38)),
    "eden": _body("a finite scale whose sum is not", Reason.NON_FINITE, vector=_filled(3e38)),
    "topk": _body("a weight that is finite, but large", Reason.NORM_EXCEEDED, vector=_filled(3e38)),
}
"""What is large in one encoding only."""


def _flipped(blob: bytes) -> bytes:
    return blob[:300] + bytes([blob[300] ^ 1]) + blob[301:]


def _padded(target: Target, size: int) -> bytes:
    return write(target, target.update()) + bytes(size + MAX_OVERHEAD_BYTES)


def _sealed_to(target: Target, recipient: Recipient, honest: bool = False) -> bytes:
    key = recipient.id if honest else target.recipient.id
    return write(target, target.update(), recipient=recipient, recipient_key=key)


def _spliced(target: Target) -> bytes:
    """Our own sealed body under another of our headers, signed again."""
    blob = write(target, target.update())
    head = target.header(plain_length=len(target.update()), message_id=b"\x07" * 16).pack()
    signed = head + blob[HEADER_BYTES:-64]
    return signed + target.device.keys.signing.sign(b"fedloom/1/sig", signed)

"""What protects an update, step by step on either side, as functions to be timed; and what it is compared with."""

import gc
import os
import statistics
import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from cryptography.fernet import Fernet
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from aggregator.assembler import Assembler
from fedloom import msgpack
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import SIGNATURE_BYTES, SigningKey, VerifyingKey
from fedloom.wire import encoding
from fedloom.wire.chunks import split
from fedloom.wire.envelope import HEADER_BYTES, Envelope, Header, Type, parse, write_sealed
from fedloom.wire.messages import Update

Step = Callable[[], object]
WARM_UP = 50


class Times(NamedTuple):
    """Milliseconds of many runs."""

    median: float
    least: float
    most: float


class Paths(NamedTuple):
    """The same work on both sides."""

    device: Times
    aggregator: Times


def timed(step: Step, runs: int) -> Times:
    """Each run by itself, with a warm-up and without garbage collection."""
    for _ in range(WARM_UP):
        step()
    gc.disable()
    try:
        found = [_once(step) for _ in range(runs)]
    finally:
        gc.enable()
    return Times(statistics.median(found), min(found), max(found))


def _once(step: Step) -> float:
    began_ns = time.perf_counter_ns()
    step()
    return (time.perf_counter_ns() - began_ns) / 1e6


class Bench:
    """An update of so many float32 weights, and what protects it."""

    def __init__(self, weights: int, runs: int) -> None:
        self._runs = runs
        self._vector = np.random.default_rng(0).normal(0.0, 0.01, weights).astype(np.float32)
        self.body = msgpack.encode(self._update())
        self._header = Header(Type.UPDATE, os.urandom(16), os.urandom(16), os.urandom(16))
        self._signing = SigningKey.generate()
        self._verifying = VerifyingKey(self._signing.public)

    def protected(self, suite: SealSuite) -> Paths:
        """All that an update's way through the envelope costs, keys loaded as each side loads them."""
        key = SealKey.generate(suite)
        blob = self._write(Recipient(suite, key.public))

        def device() -> bytes:
            return Envelope(self._header, self._write(Recipient(suite, key.public))).digest

        def aggregator() -> bytes:
            message = parse(blob, 2 * len(blob))
            assert len(message.digest) == 32
            message.verify(self._verifying)
            return message.open(key)

        assert aggregator() == self.body
        return self._both(device, aggregator)

    def steps(self, suite: SealSuite) -> dict[str, Times]:
        """What `protected` is made of, and what stands beside it: encoding, and frames of what fits no one message."""
        key = SealKey.generate(suite)
        recipient = Recipient(suite, key.public)
        blob = self._write(recipient)
        sealed, frames = recipient.seal(self.body, b""), split(blob)
        hashed = parse(blob, len(blob))
        assert hashed.digest
        steps: dict[str, Step] = {
            "device: load the round's key": lambda: Recipient(suite, key.public),
            "device: seal": lambda: recipient.seal(self.body, b""),
            "device: hash, sign": lambda: self._signing.sign(b"", blob),
            "device: hash for outbox and receipt": lambda: Envelope(self._header, blob).digest,
            "aggregator: parse": lambda: parse(blob, len(blob)),
            "aggregator: hash": lambda: parse(blob, len(blob)).digest,
            "aggregator: verify": lambda: hashed.verify(self._verifying),
            "aggregator: open": lambda: key.open(sealed, b""),
            "device: encode (not counted)": lambda: msgpack.encode(self._update()),
            "device: cut into frames (not counted)": lambda: split(blob),
            "aggregator: join frames (not counted)": lambda: _join(frames, len(blob)),
        }
        return {name: timed(step, self._runs) for name, step in steps.items()}

    def unprotected(self) -> Paths:
        """The same path with its copies and without its cryptography."""
        blob = self._header.pack() + self.body + bytes(SIGNATURE_BYTES)
        return self._both(
            lambda: self._header.pack() + self.body + bytes(SIGNATURE_BYTES),
            lambda: bytes(memoryview(blob)[HEADER_BYTES:-SIGNATURE_BYTES]),
        )

    def aes_gcm(self) -> Paths:
        """AES-256-GCM alone, under a key that both have: what TLS does to the bytes of one hop."""
        cipher, nonce = AESGCM(AESGCM.generate_key(256)), os.urandom(12)
        sealed = cipher.encrypt(nonce, self.body, None)
        return self._both(lambda: cipher.encrypt(nonce, self.body, None), lambda: cipher.decrypt(nonce, sealed, None))

    def fernet(self) -> Paths:
        """cryptography's Fernet, under a key that both have: AES-128-CBC, HMAC-SHA-256, base64."""
        cipher = Fernet(Fernet.generate_key())
        sealed = cipher.encrypt(self.body)
        return self._both(lambda: cipher.encrypt(self.body), lambda: cipher.decrypt(sealed))

    def _both(self, device: Step, aggregator: Step) -> Paths:
        return Paths(timed(device, self._runs), timed(aggregator, self._runs))

    def _write(self, recipient: Recipient) -> bytes:
        return write_sealed(self._header, self.body, self._signing, recipient)

    def _update(self) -> Update:
        return Update(100, 10, 0.5, encoding.encode(self._vector, "float32"), b"", "")


def _join(frames: list[bytes], size: int) -> bytes | None:
    assembler = Assembler(size, max_transfers=1)
    return [assembler.accept(frame) for frame in frames][-1]

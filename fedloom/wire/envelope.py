"""The envelope in which every message travels: a fixed header, a body, an Ed25519 signature over both.

    offset size field
    0      3    magic "FLE"
    3      1    version (1)
    4      1    suite: 0 clear, 1 X25519, 2 ML-KEM-768 + X25519
    5      1    type, see `Type`
    6      1    content: 1 msgpack
    7      1    encoding of an update's vector: 0 none, see fedloom.wire.encoding
    8      16   federation
    24     16   sender
    40     8    sender's signing key id
    48     16   recipient; zero is everybody
    64     8    recipient's key id; zero where the body is clear
    72     16   job
    88     4    round
    92     4    attempt
    96     32   SHA-256 of the manifest that this answers or comes with
    128    16   message id
    144    4    incarnation: raised when a device lost its state
    148    8    sequence: rises with each message of an incarnation
    156    4    length of the plain body
    160    …    body: clear, or HPKE-sealed with info = "fedloom/1/env" ‖ SHA-256(header)
    -64    64   signature = Ed25519("fedloom/1/sig" ‖ SHA-256(all before it))

All integers are big-endian. Nothing is read before its length is known to be there.
"""

import struct
from enum import IntEnum
from functools import cached_property
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from fedloom.errors import Reason, Refused
from fedloom.trust.seal import Recipient, SealKey, SealSuite
from fedloom.trust.signing import KEY_ID_BYTES, SIGNATURE_BYTES, SigningKey, VerifyingKey

if TYPE_CHECKING:
    from hashlib import _Hash

MAGIC = b"FLE"
VERSION = 1
EVERYBODY = bytes(16)
NO_KEY = bytes(KEY_ID_BYTES)
MSGPACK = 1

_LAYOUT = struct.Struct(">3sBBBBB16s16s8s16s8s16sII32s16sIQI")
HEADER_BYTES = _LAYOUT.size
_SIGNATURE_DOMAIN = b"fedloom/1/sig"
_SEAL_DOMAIN = b"fedloom/1/env"
_MAX_SEAL_OVERHEAD = 2048
MAX_OVERHEAD_BYTES = HEADER_BYTES + SIGNATURE_BYTES + _MAX_SEAL_OVERHEAD
"""What an envelope may add to its plain body."""


class Type(IntEnum):
    """What the body is, see fedloom.wire.messages."""

    MANIFEST = 1
    TASK = 2
    UPDATE = 3
    RECEIPT = 4
    PRESENCE = 5
    ENROL = 6
    MEMBERSHIP = 7
    MISSING = 8


class Header(NamedTuple):
    """Who says what to whom about which round; bytes as in the module's table."""

    type: Type
    federation: bytes
    sender: bytes
    message_id: bytes
    recipient: bytes = EVERYBODY
    job: bytes = bytes(16)
    round: int = 0
    attempt: int = 0
    manifest: bytes = bytes(32)
    incarnation: int = 0
    sequence: int = 0
    encoding: int = 0
    suite: SealSuite = SealSuite.CLEAR
    sender_key: bytes = NO_KEY
    recipient_key: bytes = NO_KEY
    plain_length: int = 0

    def pack(self) -> bytes:
        """The 160 bytes of the table above."""
        return _LAYOUT.pack(
            MAGIC, VERSION, self.suite, self.type, MSGPACK, self.encoding, self.federation, self.sender,
            self.sender_key, self.recipient, self.recipient_key, self.job, self.round, self.attempt, self.manifest,
            self.message_id, self.incarnation, self.sequence, self.plain_length,
        )  # fmt: skip


class Envelope(msgspec.Struct, frozen=True, dict=True):
    """A parsed message, not yet believed: call `verify`, then `open`."""

    header: Header
    blob: bytes

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the whole message: what a receipt names, and a manifest's hash."""
        whole = self._signed.copy()
        whole.update(memoryview(self.blob)[-SIGNATURE_BYTES:])
        return whole.digest()

    @cached_property
    def _signed(self) -> "_Hash":
        """SHA-256 of all but the signature: hashing dominates the cost of a large message, and is done once."""
        return sha256(memoryview(self.blob)[:-SIGNATURE_BYTES])

    def verify(self, key: VerifyingKey) -> None:
        """Return if `key` signed this.

        Raises:
            Refused: UNKNOWN_KEY or BAD_SIGNATURE.
        """
        if key.id != self.header.sender_key:
            raise Refused(Reason.UNKNOWN_KEY)
        key.verify_hashed(self.blob[-SIGNATURE_BYTES:], _SIGNATURE_DOMAIN, self._signed.digest())

    def open(self, key: SealKey) -> bytes:
        """The plain body of a sealed message; verify first.

        Raises:
            Refused: UNKNOWN_SUITE, CANNOT_OPEN or WRONG_LENGTH.
        """
        if self.header.suite is not key.suite:
            raise Refused(Reason.UNKNOWN_SUITE, "the message is not sealed with the suite of this federation")
        whole = memoryview(self.blob)
        info = _SEAL_DOMAIN + sha256(whole[:HEADER_BYTES]).digest()
        return self._sized(key.open(whole[HEADER_BYTES:-SIGNATURE_BYTES], info))

    def clear(self) -> bytes:
        """The body of a message that is not sealed; verify first.

        Raises:
            Refused: UNKNOWN_SUITE or WRONG_LENGTH.
        """
        if self.header.suite is not SealSuite.CLEAR:
            raise Refused(Reason.UNKNOWN_SUITE, "a clear message was expected")
        return self._sized(self.blob[HEADER_BYTES:-SIGNATURE_BYTES])

    def _sized(self, plain: bytes) -> bytes:
        if len(plain) != self.header.plain_length:
            raise Refused(Reason.WRONG_LENGTH)
        return plain


def write_clear(header: Header, body: bytes, signer: SigningKey) -> bytes:
    """A signed message that everybody may read."""
    header = header._replace(suite=SealSuite.CLEAR, sender_key=signer.id, plain_length=len(body))
    return _sign(header.pack() + body, signer)


def write_sealed(header: Header, body: bytes, signer: SigningKey, recipient: Recipient) -> bytes:
    """A signed message that only the recipient may read."""
    header = header._replace(
        suite=recipient.suite, sender_key=signer.id, recipient_key=recipient.id, plain_length=len(body)
    )
    head = header.pack()
    return _sign(head + recipient.seal(body, _SEAL_DOMAIN + sha256(head).digest()), signer)


def parse(blob: bytes, max_bytes: int) -> Envelope:
    """Split a message without believing any of it; the cheapest checks come first.

    Raises:
        Refused: TOO_LARGE, MALFORMED, UNKNOWN_VERSION, UNKNOWN_SUITE or UNKNOWN_TYPE.
    """
    if len(blob) > max_bytes:
        raise Refused(Reason.TOO_LARGE, f"{len(blob)} bytes, {max_bytes} allowed")
    if len(blob) < HEADER_BYTES + SIGNATURE_BYTES or not blob.startswith(MAGIC):
        raise Refused(Reason.MALFORMED)
    (
        _, version, suite, kind, content, encoding, federation, sender, sender_key, recipient, recipient_key, job,
        round_, attempt, manifest, message_id, incarnation, sequence, plain_length,
    ) = _LAYOUT.unpack_from(blob)  # fmt: skip
    if version != VERSION:
        raise Refused(Reason.UNKNOWN_VERSION, str(version))
    if suite not in SealSuite._value2member_map_:
        raise Refused(Reason.UNKNOWN_SUITE, str(suite))
    if kind not in Type._value2member_map_ or content != MSGPACK:
        raise Refused(Reason.UNKNOWN_TYPE, str(kind))
    body_bytes = len(blob) - HEADER_BYTES - SIGNATURE_BYTES
    if not plain_length <= body_bytes <= plain_length + _MAX_SEAL_OVERHEAD:
        raise Refused(Reason.WRONG_LENGTH)
    header = Header(
        Type(kind), federation, sender, message_id, recipient, job, round_, attempt, manifest, incarnation, sequence,
        encoding, SealSuite(suite), sender_key, recipient_key, plain_length,
    )  # fmt: skip
    return Envelope(header, bytes(blob))


def _sign(signed: bytes, signer: SigningKey) -> bytes:
    return signed + signer.sign(_SIGNATURE_DOMAIN, signed)

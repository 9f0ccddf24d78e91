"""Join tokens: what a person carries from the registrar to a new device, good for one device.

`fedloom1.` and then, in base64url without padding (RFC 4648, section 5):

    offset size field
    0      1    version (1)
    1      16   federation
    17     16   id; the token's topic, so that a broker knows it
    33     32   secret; the registrar keeps its SHA-256 alone
    65     32   SHA-256 of the root document: nobody is trusted on first use
    97     8    expiry, seconds since 1970 (UTC), judged by the registrar's clock
    105    2    port
    107    1    TLS: 0 none, 1 the federation's authority, 2 a public one
    108    1    length of host
    109    …    host, ASCII
    -4     4    first 4 bytes of the SHA-256 of all before, to tell a mistyped token from a wrong one

All integers are big-endian.
"""

import base64
import binascii
import re
import struct
from enum import StrEnum
from hashlib import sha256
from typing import Annotated, NamedTuple

import msgspec

from fedloom.errors import InputError

PREFIX = "fedloom1."
SECRET_BYTES = 32
MAX_CHARACTERS = 600
_LAYOUT = struct.Struct(">B16s16s32s32sQHBB")
_CHECK_BYTES = 4
_VERSION = 1
_HOST = re.compile(r"\A[A-Za-z0-9._:%-]{1,253}\Z")
_SPACE = re.compile(r"\s+")
_REMEDY = "copy the whole token again, or make another with: fedloom token new"


class TlsMode(StrEnum):
    """Who vouches for the broker's TLS certificate."""

    NONE = "none"
    """No TLS: for a network that is trusted, or tests. Updates are sealed end to end all the same."""
    FEDERATION = "federation"
    """The root document's own authority; devices show certificates of it (mutual TLS)."""
    SYSTEM = "system"
    """A public authority, as with a broker in the cloud."""


class Broker(msgspec.Struct, frozen=True, array_like=True):
    """Where devices reach the broker."""

    host: Annotated[str, msgspec.Meta(pattern=_HOST.pattern)]
    port: Annotated[int, msgspec.Meta(ge=1, le=65_535)]
    tls: TlsMode


_TLS = (TlsMode.NONE, TlsMode.FEDERATION, TlsMode.SYSTEM)
"""By their code in a token."""


class Token(NamedTuple):
    """What a join token says; `repr` keeps its secret."""

    federation: bytes
    id: bytes
    secret: bytes
    root_hash: bytes
    expires_at: int
    """Seconds since 1970 (UTC)."""
    broker: Broker

    def __repr__(self) -> str:
        return f"Token({self.id.hex()})"


def write_token(token: Token) -> str:
    """The text of a token.

    Raises:
        InputError: the host cannot stand in one.
    """
    if not _HOST.fullmatch(token.broker.host):
        problem = f"{token.broker.host!r} is not a host name or an address"
        raise InputError("token", "host", problem, "use ASCII letters, digits, '.', '-' and ':'")
    host = token.broker.host.encode()
    fixed = (_VERSION, token.federation, token.id, token.secret, token.root_hash, token.expires_at, token.broker.port)
    body = _LAYOUT.pack(*fixed, _TLS.index(token.broker.tls), len(host)) + host
    return PREFIX + base64.urlsafe_b64encode(body + _check(body)).rstrip(b"=").decode()


def read_token(text: str) -> Token:
    """Read what `write_token` wrote; white space, as of a wrapped line, is ignored.

    Raises:
        InputError: it is truncated, mistyped or none at all; the error does not repeat it.
    """
    text = _SPACE.sub("", text)
    if not text.startswith(PREFIX):
        raise _wrong(f"does not begin with {PREFIX!r}")
    try:
        coded = text[len(PREFIX) :]
        data = base64.b64decode(coded + "=" * (-len(coded) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        raise _wrong("has characters that no token has, or lacks some") from None
    body, check = data[:-_CHECK_BYTES], data[-_CHECK_BYTES:]
    if len(text) > MAX_CHARACTERS or len(body) < _LAYOUT.size or _check(body) != check:
        raise _wrong("is truncated or mistyped")
    version, federation, id_, secret, root_hash, expires_at, port, tls, host_length = _LAYOUT.unpack_from(body)
    if version != _VERSION:
        raise InputError("token", "", f"is of version {version}, this is fedloom for version 1", "update fedloom-edge")
    host = body[_LAYOUT.size :].decode("ascii", "replace")
    if len(host) != host_length or not _HOST.fullmatch(host) or not port or tls >= len(_TLS):
        raise _wrong("names no broker")
    return Token(federation, id_, secret, root_hash, expires_at, Broker(host, port, _TLS[tls]))


def secret_hash(secret: bytes) -> bytes:
    """What the registrar keeps of a token's secret. Plain SHA-256 will do: the secret is 32 random bytes."""
    return sha256(b"fedloom/1/token" + secret).digest()


def _check(body: bytes) -> bytes:
    return sha256(body).digest()[:_CHECK_BYTES]


def _wrong(problem: str) -> InputError:
    return InputError("token", "", problem, _REMEDY)

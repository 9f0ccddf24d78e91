"""The two signed documents on which all trust rests: the federation's root, and a device's credential.

Root documents form a chain: version N+1 is signed by the root keys of N and by its own, so that whoever believes one
version can follow to the newest (root rotation of The Update Framework: Samuel et al. 2010,
doi:10.1145/1866307.1866315).

Both travel and are stored as `msgpack([body, signatures])`; the body is signed as the bytes it is, so that nothing has
to be re-encoded the same way to verify it.
"""

from collections.abc import Iterable
from hashlib import sha256
from typing import Annotated, TypeVar

import msgspec

from fedloom import msgpack
from fedloom.errors import Reason, Refused
from fedloom.names import MAX_NAME
from fedloom.trust.seal import SealSuite
from fedloom.trust.signing import SigningKey, VerifyingKey, key_id

DAY_S = 86_400
RENEWAL_GRACE_S = 30 * DAY_S
"""How long after its credential's end a device may still come back and have it renewed, unless it was revoked."""
MAX_DOCUMENT_BYTES = 64 * 1024
MAX_ROOT_KEYS = 16
MAX_SIGNATURES = 2 * MAX_ROOT_KEYS
"""Of all keys of one version, and all of the next."""
_ROOT_DOMAIN = b"fedloom/1/root"
_CREDENTIAL_DOMAIN = b"fedloom/1/credential"

Id = Annotated[bytes, msgspec.Meta(min_length=16, max_length=16)]
Ed25519Public = Annotated[bytes, msgspec.Meta(min_length=32, max_length=32)]
SealPublic = Annotated[bytes, msgspec.Meta(min_length=32, max_length=2048)]
Label = Annotated[str, msgspec.Meta(max_length=MAX_NAME)]


class AggregatorKey(msgspec.Struct, frozen=True, array_like=True):
    """An aggregator that the root vouches for."""

    id: Id
    signing: Ed25519Public


class Registrar(msgspec.Struct, frozen=True, array_like=True):
    """Who lets devices in."""

    id: Id
    signing: Ed25519Public
    """Signs device credentials, and the answers to devices that join."""
    seal: SealPublic
    """What devices that join say is sealed to it."""
    ca: Annotated[bytes, msgspec.Meta(min_length=1, max_length=4096)]
    """X.509 certificate (DER) of the P-256 authority for the broker's mutual TLS."""


class Root(msgspec.Struct, frozen=True, array_like=True):
    """Whom a federation trusts with what. Version N+1 is signed by the keys of N and of N+1."""

    version: Annotated[int, msgspec.Meta(ge=1)]
    federation: Id
    suite: SealSuite
    root_keys: Annotated[tuple[Ed25519Public, ...], msgspec.Meta(min_length=1, max_length=MAX_ROOT_KEYS)]
    threshold: Annotated[int, msgspec.Meta(ge=1)]
    registrar: Registrar
    aggregators: Annotated[tuple[AggregatorKey, ...], msgspec.Meta(max_length=64)]
    """Sign manifests, tasks and receipts."""


class Credential(msgspec.Struct, frozen=True, array_like=True):
    """The registrar's word that these keys are this device's."""

    federation: Id
    device: Id
    name: Label
    signing: Ed25519Public
    seal: SealPublic
    not_before: int
    """Seconds since 1970 (UTC), as `not_after`: the registrar's clock when it was issued."""
    not_after: int
    """Judged by the aggregator's clock alone; a device's own clock is never trusted."""


class _Signed(msgspec.Struct, frozen=True, array_like=True):
    body: bytes
    signatures: Annotated[tuple[tuple[bytes, bytes], ...], msgspec.Meta(max_length=MAX_SIGNATURES)]
    """(key id, signature) pairs."""


Document = TypeVar("Document", Root, Credential)


def sign_root(root: Root, *keys: SigningKey) -> bytes:
    """The root document, signed by each of `keys`."""
    return _sign(root, _ROOT_DOMAIN, keys)


def add_root_signature(blob: bytes, key: SigningKey) -> bytes:
    """The same document with one more signature, for keys that never meet; a second one of one key changes nothing.

    Whatever else stands there under the key's name, which would keep everybody from believing the document, goes.

    Raises:
        Refused: MALFORMED, or TOO_LARGE: there is no room for one more.
    """
    signed, _ = _decode(blob, Root)
    signature = (key.id, key.sign(_ROOT_DOMAIN, signed.body))
    others = tuple(each for each in signed.signatures if each[0] != key.id)
    if len(signed.signatures) == len(others) + 1 and signature in signed.signatures:
        return blob
    if len(others) >= MAX_SIGNATURES:
        raise Refused(Reason.TOO_LARGE, f"there are {len(others)} signatures already")
    return msgpack.encode(_Signed(signed.body, (*others, signature)))


def peek_root(blob: bytes) -> Root:
    """What a root document says; who signed it is not looked at.

    Raises:
        Refused: MALFORMED.
    """
    return _decode(blob, Root)[1]


def root_signers(blob: bytes, keys: Iterable[bytes]) -> frozenset[bytes]:
    """Those of the public `keys` that signed a root document.

    Raises:
        Refused: MALFORMED.
    """
    signed, _ = _decode(blob, Root)
    return frozenset(key for key in keys if _has_signed(signed, key))


def sign_credential(credential: Credential, registrar: SigningKey) -> bytes:
    """The credential, signed by the registrar."""
    return _sign(credential, _CREDENTIAL_DOMAIN, (registrar,))


def open_root(blob: bytes, pinned: bytes) -> Root:
    """The root document that has the SHA-256 `pinned`, its own threshold of signatures checked.

    Raises:
        Refused: HASH_MISMATCH, MALFORMED or BAD_SIGNATURE.
    """
    if sha256(blob).digest() != pinned:
        raise Refused(Reason.HASH_MISMATCH, "this is not the root document that was pinned")
    signed, root = _decode(blob, Root)
    _require(signed, _ROOT_DOMAIN, root.root_keys, root.threshold)
    return root


def open_next_root(blob: bytes, current: Root) -> Root:
    """The root document that follows `current`: signed by a threshold of the current keys, and of its own.

    Raises:
        Refused: MALFORMED, WRONG_FEDERATION, OLD (not the next version), UNKNOWN_SUITE (it never changes: devices' keys
            are of that suite) or BAD_SIGNATURE.
    """
    signed, root = _decode(blob, Root)
    if root.federation != current.federation:
        raise Refused(Reason.WRONG_FEDERATION)
    if root.version != current.version + 1:
        raise Refused(Reason.OLD, f"root version {root.version}, the next one is {current.version + 1}")
    if root.suite is not current.suite:
        raise Refused(Reason.UNKNOWN_SUITE, "a root document does not change the suite")
    _require(signed, _ROOT_DOMAIN, current.root_keys, current.threshold)
    _require(signed, _ROOT_DOMAIN, root.root_keys, root.threshold)
    return root


def open_credential(blob: bytes, root: Root) -> Credential:
    """The credential, if the root's registrar signed it for this federation.

    Raises:
        Refused: MALFORMED, BAD_SIGNATURE or WRONG_FEDERATION.
    """
    signed, credential = _decode(blob, Credential)
    _require(signed, _CREDENTIAL_DOMAIN, (root.registrar.signing,), 1)
    if credential.federation != root.federation:
        raise Refused(Reason.WRONG_FEDERATION)
    return credential


def peek_credential(blob: bytes) -> Credential:
    """What a credential says; who signed it is not looked at.

    Raises:
        Refused: MALFORMED.
    """
    return _decode(blob, Credential)[1]


def _has_signed(signed: _Signed, public: bytes) -> bool:
    try:
        _require(signed, _ROOT_DOMAIN, (public,), 1)
    except Refused:
        return False
    return True


def _sign(document: Root | Credential, domain: bytes, keys: tuple[SigningKey, ...]) -> bytes:
    body = msgpack.encode(document)
    return msgpack.encode(_Signed(body, tuple((key.id, key.sign(domain, body)) for key in keys)))


def _decode(blob: bytes, kind: type[Document]) -> tuple[_Signed, Document]:
    if len(blob) > MAX_DOCUMENT_BYTES:
        raise Refused(Reason.TOO_LARGE)
    signed = msgpack.decode(blob, _Signed)
    return signed, msgpack.decode(signed.body, kind)


def _require(signed: _Signed, domain: bytes, keys: tuple[bytes, ...], threshold: int) -> None:
    """Raise Refused unless `threshold` different ones of `keys` signed the body."""
    by_id = {key_id(public): public for public in keys}
    good = set()
    for name, signature in signed.signatures:
        if name in by_id and name not in good:
            VerifyingKey(by_id[name]).verify(signature, domain, signed.body)
            good.add(name)
    if len(good) < threshold:
        raise Refused(Reason.BAD_SIGNATURE, f"{len(good)} of {threshold} signatures")

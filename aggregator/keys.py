"""The federation's own keys on the aggregator's host: `keys/` in its state directory, for the aggregator alone.

federation.key   Ed25519, signs root documents; may be moved to a host without a network
registrar.key    Ed25519, signs device credentials
enrolment.key    HPKE, opens what devices say that join
ca.key           P-256 (PEM), signs certificates for the broker's TLS
aggregator.key   Ed25519, signs manifests, tasks and receipts
root-N           root documents from version 1 to the newest, which lists the public parts
"""

import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from fedloom.errors import Refused, TrustError
from fedloom.files import create_private_directory, make_private_directory, read_private, refuse_shared
from fedloom.trust.certificates import Authority, new_authority, new_key
from fedloom.trust.documents import AggregatorKey, Registrar, Root, open_next_root, open_root, sign_root
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey

SuiteName = Literal["hybrid", "x25519"]
SUITES: dict[SuiteName, SealSuite] = {"hybrid": SealSuite.HYBRID, "x25519": SealSuite.X25519}

_PRIVATE = ("registrar.key", "enrolment.key", "ca.key", "aggregator.key")


class RegistrarKeys(NamedTuple):
    """Who lets devices in."""

    signing: SigningKey
    seal: SealKey
    authority: Authority


class AggregatorKeys(NamedTuple):
    """Who this aggregator is."""

    id: bytes
    signing: SigningKey
    registrar: RegistrarKeys
    root: Root
    documents: tuple[bytes, ...]
    """The root documents, from version 1 to that of `root`."""


def init(state: Path, suite: SuiteName = "hybrid") -> AggregatorKeys:
    """Make a federation: its root, registrar and aggregator keys and the root document, in `state`/keys.

    Raises:
        TrustError: there are keys already (they are never overwritten), or the directory is open to others.
    """
    directory = state / "keys"
    make_private_directory(state)
    federation, registrar, signing = (SigningKey.generate() for _ in range(3))
    federation_id, seal, ca_key = os.urandom(16), SealKey.generate(SUITES[suite]), new_key()
    ca = new_authority(ca_key, f"fedloom {federation_id.hex()}", time.time())
    root = Root(
        version=1,
        federation=federation_id,
        suite=SUITES[suite],
        root_keys=(federation.public,),
        threshold=1,
        registrar=Registrar(os.urandom(16), registrar.public, seal.public, ca),
        aggregators=(AggregatorKey(os.urandom(16), signing.public),),
    )
    private = dict(zip(_PRIVATE, (registrar.private, seal.private, ca_key, signing.private), strict=True))
    files = {"federation.key": federation.private, **private, "root-1": sign_root(root, federation)}
    try:
        create_private_directory(directory, files)
    except FileExistsError:
        raise TrustError(f"{directory}: is there already; a federation is made once") from None
    return load(state)


def require_federation(state: Path) -> None:
    """Return if `state` is the private directory of a federation; nothing is made.

    Raises:
        TrustError: it is not, or others may enter it.
    """
    if not (state / "keys").is_dir():
        raise TrustError(f"{state}: there is no federation here; make one with: fedloom aggregator init")
    refuse_shared(state)


def load(state: Path) -> AggregatorKeys:
    """Read and check the keys in `state`/keys.

    Raises:
        TrustError: a file is missing, open to others, damaged, or does not fit the others.
    """
    directory = state / "keys"
    if not directory.is_dir():
        raise TrustError(f"{directory}: there are no keys here; make them with: fedloom aggregator init")
    refuse_shared(directory)
    documents = _documents(directory)
    registrar, seal, ca, aggregator = (read_private(directory / name) for name in _PRIVATE)
    try:
        root = _open_chain(documents)
        keys = RegistrarKeys(SigningKey(registrar), SealKey(root.suite, seal), Authority(ca, root.registrar.ca))
        signing = SigningKey(aggregator)
    except (Refused, ValueError) as error:
        raise TrustError(f"{directory}: damaged ({error}); restore it from a backup") from None
    ours = [each.id for each in root.aggregators if each.signing == signing.public]
    if not ours or (root.registrar.signing, root.registrar.seal) != (keys.signing.public, keys.seal.public):
        raise TrustError(f"{directory}: the root document does not list these keys; restore them from a backup")
    return AggregatorKeys(ours[0], signing, keys, root, documents)


def _documents(directory: Path) -> tuple[bytes, ...]:
    """The root documents, oldest first."""
    documents: list[bytes] = []
    while (path := directory / f"root-{len(documents) + 1}").exists() or not documents:
        documents.append(read_private(path))
    return tuple(documents)


def _open_chain(documents: tuple[bytes, ...]) -> Root:
    """The newest of the root documents, each of which follows the one before."""
    root = open_root(documents[0], sha256(documents[0]).digest())
    for document in documents[1:]:
        root = open_next_root(document, root)
    return root

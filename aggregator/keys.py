"""The federation's own keys on the aggregator's host: `keys/` in its state directory, for the aggregator alone.

federation.key   Ed25519, signs root documents; may be moved to a host without a network
registrar.key    Ed25519, signs device credentials
aggregator.key   Ed25519, signs manifests, tasks and receipts
root             the root document that lists the public parts
"""

import os
from hashlib import sha256
from pathlib import Path
from typing import Literal, NamedTuple

from fedloom.errors import Refused, TrustError
from fedloom.files import create_private_directory, make_private_directory, read_private, refuse_shared
from fedloom.trust.documents import AggregatorKey, Root, open_root, sign_root
from fedloom.trust.seal import SealSuite
from fedloom.trust.signing import SigningKey

SuiteName = Literal["hybrid", "x25519"]
SUITES: dict[SuiteName, SealSuite] = {"hybrid": SealSuite.HYBRID, "x25519": SealSuite.X25519}

_NAMES = ("federation.key", "registrar.key", "aggregator.key", "root")


class AggregatorKeys(NamedTuple):
    """Who this aggregator is."""

    id: bytes
    signing: SigningKey
    registrar: SigningKey
    root: Root
    root_document: bytes


def init(state: Path, suite: SuiteName = "hybrid") -> AggregatorKeys:
    """Make a federation: its root, registrar and aggregator keys and the root document, in `state`/keys.

    Raises:
        TrustError: there are keys already (they are never overwritten), or the directory is open to others.
    """
    directory = state / "keys"
    make_private_directory(state)
    federation, registrar, signing = (SigningKey.generate() for _ in range(3))
    aggregator = AggregatorKey(os.urandom(16), signing.public)
    root = Root(1, os.urandom(16), SUITES[suite], (federation.public,), 1, registrar.public, (aggregator,))
    document = sign_root(root, federation)
    secrets = (federation.private, registrar.private, signing.private, document)
    try:
        create_private_directory(directory, dict(zip(_NAMES, secrets, strict=True)))
    except FileExistsError:
        raise TrustError(f"{directory}: is there already; a federation is made once") from None
    return AggregatorKeys(aggregator.id, signing, registrar, root, document)


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
    registrar_bytes, signing_bytes, document = (read_private(directory / name) for name in _NAMES[1:])
    try:
        root = open_root(document, sha256(document).digest())
        registrar, signing = SigningKey(registrar_bytes), SigningKey(signing_bytes)
    except (Refused, ValueError) as error:
        raise TrustError(f"{directory}: damaged ({error}); restore it from a backup") from None
    ours = [each.id for each in root.aggregators if each.signing == signing.public]
    if not ours or root.registrar != registrar.public:
        raise TrustError(f"{directory}: the root document does not list these keys; restore them from a backup")
    return AggregatorKeys(ours[0], signing, registrar, root, document)

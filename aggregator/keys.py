"""The federation's own keys on the aggregator's host: `keys/` in its state directory, for the aggregator alone.

federation.key   Ed25519, signs root documents; nothing needs it while the federation runs (docs/roots.md)
registrar.key    Ed25519, signs device credentials
enrolment.key    HPKE, opens what devices say that join
ca.key           P-256 (PEM), signs certificates for the broker's TLS
aggregator.key   Ed25519, signs manifests, tasks and receipts
root-N           root documents from version 1 to the newest, which lists the public parts

aggregator.key.next   takes the place of aggregator.key when a root document that lists it is installed
root-1.proposal       the first root document, where keys that are not here have yet to sign it
"""

import os
import time
from collections.abc import Sequence
from contextlib import suppress
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

FEDERATION_KEY, AGGREGATOR_KEY, NEXT_KEY = "federation.key", "aggregator.key", "aggregator.key.next"
PROPOSAL = "root-1.proposal"
_REGISTRAR = ("registrar.key", "enrolment.key", "ca.key")


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
    federation = SigningKey.generate()
    root, files = _generate(suite, (federation.public,), 1)
    _write(state, {FEDERATION_KEY: federation.private, **files, "root-1": sign_root(root, federation)})
    return load(state)


def init_offline(state: Path, suite: SuiteName, root_keys: Sequence[bytes], threshold: int) -> Root:
    """Make a federation whose root keys lie elsewhere: its first root document is left for them to sign.

    Raises:
        TrustError: as `init`.
    """
    root, files = _generate(suite, tuple(root_keys), threshold)
    _write(state, {**files, PROPOSAL: sign_root(root)})
    return root


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
    directory = directory_of(state)
    candidates = _signing_keys(directory)
    documents, root = read_chain(directory)
    registrar, seal, ca = (read_private(directory / name) for name in _REGISTRAR)
    try:
        keys = RegistrarKeys(SigningKey(registrar), SealKey(root.suite, seal), Authority(ca, root.registrar.ca))
        ours = [(each.id, key) for key in map(SigningKey, candidates) for each in root.aggregators if is_of(each, key)]
    except (Refused, ValueError) as error:
        raise TrustError(f"{directory}: damaged ({error}); restore it from a backup") from None
    if not ours or (root.registrar.signing, root.registrar.seal) != (keys.signing.public, keys.seal.public):
        raise TrustError(f"{directory}: the root document does not list these keys; restore them from a backup")
    return AggregatorKeys(*ours[0], keys, root, documents)


def directory_of(state: Path) -> Path:
    """Where the keys of a federation are.

    Raises:
        TrustError: there are none, or others may enter the directory.
    """
    directory = state / "keys"
    if not directory.is_dir():
        raise TrustError(f"{directory}: there are no keys here; make them with: fedloom aggregator init")
    refuse_shared(directory)
    return directory


def read_chain(directory: Path) -> tuple[tuple[bytes, ...], Root]:
    """The root documents, oldest first, each of which follows the one before; and what the newest says.

    Raises:
        TrustError: one is missing, open to others, or damaged; or the first one is not signed yet.
    """
    documents: list[bytes] = []
    while (path := directory / f"root-{len(documents) + 1}").exists():
        documents.append(read_private(path))
    proposal = directory / PROPOSAL
    if not documents and proposal.exists():
        raise TrustError(
            f"{proposal}: the root keys have yet to sign it; then run: fedloom root install {proposal} (docs/roots.md)"
        )
    if not documents:
        raise TrustError(f"{directory / 'root-1'}: is missing; restore it from a backup")
    try:
        root = open_root(documents[0], sha256(documents[0]).digest())
        for document in documents[1:]:
            root = open_next_root(document, root)
    except (Refused, ValueError) as error:
        raise TrustError(f"{directory}: a root document is damaged ({error}); restore it from a backup") from None
    return tuple(documents), root


def is_of(listed: AggregatorKey, key: SigningKey) -> bool:
    """Whether a root document lists this key as that aggregator's."""
    return listed.signing == key.public


def _signing_keys(directory: Path) -> tuple[bytes, ...]:
    """The aggregator's next key, if there is one, and its key: the newest root document says which is in force.

    Read in this order, and before the documents, because an installation writes the document first and then moves the
    next key: whatever it has done in the meantime, the one that the document lists is among these.
    """
    found: list[bytes] = []
    with suppress(FileNotFoundError):
        refuse_shared(directory / NEXT_KEY)
        found.append((directory / NEXT_KEY).read_bytes())
    return (*found, read_private(directory / AGGREGATOR_KEY))


def _generate(suite: SuiteName, root_keys: tuple[bytes, ...], threshold: int) -> tuple[Root, dict[str, bytes]]:
    """A first root document's content, and the files of the private keys that it lists beside the root keys."""
    registrar, signing = SigningKey.generate(), SigningKey.generate()
    federation, seal, ca_key = os.urandom(16), SealKey.generate(SUITES[suite]), new_key()
    ca = new_authority(ca_key, f"fedloom {federation.hex()}", time.time())
    root = Root(
        version=1,
        federation=federation,
        suite=SUITES[suite],
        root_keys=root_keys,
        threshold=threshold,
        registrar=Registrar(os.urandom(16), registrar.public, seal.public, ca),
        aggregators=(AggregatorKey(os.urandom(16), signing.public),),
    )
    private = dict(zip(_REGISTRAR, (registrar.private, seal.private, ca_key), strict=True))
    return root, {**private, AGGREGATOR_KEY: signing.private}


def _write(state: Path, files: dict[str, bytes]) -> None:
    make_private_directory(state)
    try:
        create_private_directory(state / "keys", files)
    except FileExistsError:
        raise TrustError(f"{state / 'keys'}: is there already; a federation is made once") from None

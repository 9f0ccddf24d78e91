"""Installs root documents in `keys/`, so that a crash at any point leaves a federation that loads.

First root-N is written, then aggregator.key.next takes the place of aggregator.key. Between the two,
`aggregator.keys.load` reads the directory as if both were done, and the next change completes it.
"""

from hashlib import sha256
from pathlib import Path

from aggregator import keys
from aggregator.roots.view import quorums
from fedloom.errors import Refused, TrustError
from fedloom.files import locked, read_private, sync_directory, write_durably
from fedloom.trust.documents import MAX_DOCUMENT_BYTES, Root, open_next_root, open_root, peek_root
from fedloom.trust.signing import SigningKey


def install(state: Path, file: Path) -> Root:
    """Make a proposal, once enough have signed it, the newest root document here. Doing it again changes nothing.

    Raises:
        TrustError: it does not follow ours, too few have signed it, or it does not list the keys that are here.
    """
    directory = keys.directory_of(state)
    blob = read_document(file)
    with locked(directory):
        proposal = directory / keys.PROPOSAL
        if not (directory / "root-1").exists() and proposal.exists():
            root = _open_first(blob, proposal, file)
            put(directory, root, blob)
            proposal.unlink()
        else:
            documents, _ = keys.read_chain(directory)
            root = settled(directory)
            if blob != documents[-1]:
                root = _open_next(blob, root, directory, file)
                put(directory, root, blob)
    return root


def settled(directory: Path) -> Root:
    """The newest root, what a crash has left undone being done."""
    _, root = keys.read_chain(directory)
    _move_key(directory, root)
    return root


def put(directory: Path, root: Root, blob: bytes) -> None:
    """The document first: a key that it lists is found under either name."""
    write_durably(directory / f"root-{root.version}", blob)
    _move_key(directory, root)


def read_document(file: Path) -> bytes:
    """The bytes of a root document, which is no secret.

    Raises:
        TrustError: it cannot be read, or is none.
    """
    try:
        with file.open("rb") as opened:
            blob = opened.read(MAX_DOCUMENT_BYTES + 1)
        peek_root(blob)
    except OSError as error:
        raise TrustError(f"{file}: cannot be read ({error.strerror})") from None
    except Refused as error:
        raise TrustError(f"{file}: is no root document ({error})") from None
    return blob


def read_key(path: Path) -> SigningKey:
    """An Ed25519 private key.

    Raises:
        TrustError: it cannot be read, is open to others, or is none.
    """
    try:
        return SigningKey(read_private(path))
    except ValueError:
        raise TrustError(f"{path}: is no Ed25519 private key (32 bytes)") from None


def _move_key(directory: Path, root: Root) -> None:
    coming = directory / keys.NEXT_KEY
    if coming.exists() and _lists(root, read_key(coming)):
        coming.replace(directory / keys.AGGREGATOR_KEY)
        sync_directory(directory)


def _open_first(blob: bytes, proposal: Path, file: Path) -> Root:
    """The first document has none before it that would vouch for it: it must be the one that was made here."""
    ours = peek_root(read_document(proposal))
    root = peek_root(blob)
    if root != ours:
        raise TrustError(f"{file}: is not the root document that was made here; sign a copy of {proposal}")
    try:
        return open_root(blob, sha256(blob).digest())
    except (Refused, ValueError):
        raise TrustError(_unsigned(file, blob, None)) from None


def _open_next(blob: bytes, current: Root, directory: Path, file: Path) -> Root:
    said = peek_root(blob)
    if (said.federation, said.version) != (current.federation, current.version + 1):
        problem = f"{file}: is version {said.version} of federation {said.federation.hex()[:8]}"
        wanted = f"version {current.version + 1} of {current.federation.hex()[:8]} comes next here"
        raise TrustError(f"{problem}, {wanted}; propose it anew with: fedloom root propose")
    try:
        root = open_next_root(blob, current)
    except (Refused, ValueError):
        raise TrustError(_unsigned(file, blob, current)) from None
    if root.registrar != current.registrar:
        raise TrustError(f"{file}: changes the registrar, which cannot be done in a federation that has devices")
    paths = (directory / keys.NEXT_KEY, directory / keys.AGGREGATOR_KEY)
    if not any(_lists(root, read_key(path)) for path in paths if path.exists()):
        raise TrustError(f"{file}: does not list the key of this aggregator; propose it on this host")
    return root


def _unsigned(file: Path, blob: bytes, current: Root | None) -> str:
    lacks = [
        f"{len(each.signed)} of the {each.threshold} signatures by keys of version {each.version}"
        for each in quorums(blob, current)
        if len(each.signed) < each.threshold
    ]
    has = " and ".join(lacks) or "signatures that do not hold"
    return f"{file}: has {has}; sign it with: fedloom root sign {file} --key FILE"


def _lists(root: Root, key: SigningKey) -> bool:
    return any(keys.is_of(each, key) for each in root.aggregators)

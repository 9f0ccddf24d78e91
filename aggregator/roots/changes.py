"""Makes and signs the next version of the root document: the files behind `fedloom root`."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from aggregator import keys
from aggregator.roots.install import put, read_key, settled
from fedloom.errors import InputError, Refused, TrustError
from fedloom.files import create_durably, locked, write_durably
from fedloom.trust.documents import MAX_ROOT_KEYS, AggregatorKey, Root, add_root_signature, sign_root
from fedloom.trust.signing import SigningKey

_PUBLIC = 0o644


class Changes(NamedTuple):
    """What the next version does differently."""

    rotate_aggregator: bool = False
    add: tuple[bytes, ...] = ()
    """Public root keys."""
    remove: tuple[bytes, ...] = ()
    threshold: int | None = None


def new_root_key(out: Path) -> bytes:
    """Write a new root key (Ed25519, 32 bytes, for its owner alone) and return its public part.

    Raises:
        TrustError: `out` is there already.
    """
    key = SigningKey.generate()
    _create(out, key.private)
    return key.public


def public_keys(texts: list[str] | None, option: str) -> tuple[bytes, ...]:
    """Public keys from hex.

    Raises:
        InputError: one is none.
    """
    return tuple(_public_key(text, option) for text in texts or ())


def check_quorum(root_keys: Sequence[bytes], threshold: int, where: str) -> None:
    """Return if so many signatures of these keys can be asked for.

    Raises:
        InputError: they cannot.
    """
    if len(set(root_keys)) != len(root_keys):
        raise InputError(where, "root keys", "one is named twice", "give each key once")
    if not 1 <= len(root_keys) <= MAX_ROOT_KEYS:
        raise InputError(where, "root keys", f"{len(root_keys)} keys", f"have between 1 and {MAX_ROOT_KEYS}")
    if not 1 <= threshold <= len(root_keys):
        remedy = f"choose 1 to {len(root_keys)}"
        raise InputError(where, "--threshold", f"{threshold} of {len(root_keys)} keys cannot sign", remedy)


def propose(state: Path, changes: Changes, out: Path) -> Root:
    """Write the next version, which nobody has signed yet, to `out`; a new private key is durable before that.

    Raises:
        InputError: the changes cannot be made.
        TrustError: `out` is there already, or another proposal waits for its key.
    """
    directory = keys.directory_of(state)
    with locked(directory):
        current = settled(directory)
        root = _changed(current, changes)
        if out.exists():
            raise TrustError(f"{out}: is there already; choose another file")
        if changes.rotate_aggregator:
            root = _with_new_key(directory, root, _aggregator_id(directory, current))
        try:
            _create(out, sign_root(root), _PUBLIC)
        except (OSError, TrustError):
            if changes.rotate_aggregator:
                (directory / keys.NEXT_KEY).unlink()  # nothing lists it
            raise
    return root


def sign(file: Path, blob: bytes, key_file: Path) -> bytes:
    """Add the signature of the key in `key_file` to a proposal; returns the public key.

    `blob` is what was read from `file`, and shown: the file may have changed since.

    Raises:
        TrustError: the key cannot be used, or there is no room for its signature.
    """
    key = read_key(key_file)
    try:
        signed = add_root_signature(blob, key)
    except Refused as error:
        raise TrustError(f"{file}: is no root document that can be signed ({error})") from None
    write_durably(file, signed, _PUBLIC)
    return key.public


def rotate(state: Path) -> Root:
    """Give the aggregator a new key, with the federation's key that lies here.

    Raises:
        TrustError: that key is not here, or is not enough.
    """
    directory = keys.directory_of(state)
    with locked(directory):
        current = settled(directory)
        key = _federation_key(directory, current)
        coming = _changed(current, Changes(rotate_aggregator=True))
        root = _with_new_key(directory, coming, _aggregator_id(directory, current))
        put(directory, root, sign_root(root, key))
    return root


def _public_key(text: str, option: str) -> bytes:
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != 32:
        raise InputError(
            option, "", f"{text!r} is no public key", "give the 64 digits that fedloom root keygen printed"
        )
    return key


def _changed(current: Root, changes: Changes) -> Root:
    where = "fedloom root propose"
    if changes == Changes():
        raise InputError(where, "", "nothing would change", "see: fedloom root propose --help")
    for key in changes.remove:
        if key not in current.root_keys:
            raise InputError(where, "--remove-key", f"{key.hex()} is no root key", "see: fedloom root show")
    kept = tuple(key for key in current.root_keys if key not in changes.remove)
    root_keys = (*kept, *changes.add)
    threshold = current.threshold if changes.threshold is None else changes.threshold
    check_quorum(root_keys, threshold, where)
    return msgspec.structs.replace(current, version=current.version + 1, root_keys=root_keys, threshold=threshold)


def _with_new_key(directory: Path, root: Root, aggregator: bytes) -> Root:
    """The same, with a key of the aggregator that is new, and on disk. It never is one that was there already: whoever
    rotates because a disk was stolen would go on with a stolen key.
    """
    path = directory / keys.NEXT_KEY
    if path.exists():
        raise TrustError(f"{path}: a proposal waits for this key; install that, or delete the file to give it up")
    key = SigningKey.generate()
    _create(path, key.private)
    listed = tuple(AggregatorKey(each.id, key.public) if each.id == aggregator else each for each in root.aggregators)
    return msgspec.structs.replace(root, aggregators=listed)


def _aggregator_id(directory: Path, root: Root) -> bytes:
    key = read_key(directory / keys.AGGREGATOR_KEY)
    for each in root.aggregators:
        if keys.is_of(each, key):
            return each.id
    raise TrustError(f"{directory}: the root document does not list {keys.AGGREGATOR_KEY}; restore it from a backup")


def _federation_key(directory: Path, root: Root) -> SigningKey:
    path = directory / keys.FEDERATION_KEY
    key = read_key(path) if path.exists() else None
    if key is not None and key.public in root.root_keys and root.threshold == 1:
        return key
    lies = "is not here" if key is None else "alone is not enough"
    raise TrustError(
        f"{path}: {lies}; run: fedloom root propose --rotate-aggregator --out next.root, then where root keys lie: "
        f"fedloom root sign next.root --key FILE, then here: fedloom root install next.root"
    )


def _create(path: Path, data: bytes, mode: int = 0o600) -> None:
    try:
        create_durably(path, data, mode)
    except FileExistsError:
        raise TrustError(f"{path}: is there already; choose another file") from None

"""A device's keys and documents: a directory of files that only the device may read.

signing.key   32 bytes, Ed25519            seal.key     32 or 96 bytes, HPKE (see fedloom.trust.seal)
root          the federation's root document    credential   the registrar's word for this device
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fedloom.errors import Refused, TrustError
from fedloom.files import create_private_directory, read_private, refuse_shared
from fedloom.trust.documents import Credential, Root, open_credential, open_root
from fedloom.trust.seal import SealKey
from fedloom.trust.signing import SigningKey


class DeviceKeys(NamedTuple):
    """Who a device is."""

    signing: SigningKey
    seal: SealKey
    root: Root
    credential: Credential

    @property
    def id(self) -> bytes:
        """The device's id, 16 bytes."""
        return self.credential.device


def write_device_keys(directory: Path, signing: SigningKey, seal: SealKey, root: bytes, credential: bytes) -> None:
    """Put a device's identity into `directory`.

    Raises:
        TrustError: there is one already; it is never overwritten.
    """
    files = {"signing.key": signing.private, "seal.key": seal.private, "root": root, "credential": credential}
    try:
        create_private_directory(directory, files)
    except FileExistsError:
        raise TrustError(f"{directory}: is there already; choose an empty directory") from None


def load_device_keys(directory: Path) -> DeviceKeys:
    """Read and check a device's identity.

    Raises:
        TrustError: a file is missing, open to others, damaged, or does not fit the others.
    """
    if not directory.is_dir():
        raise TrustError(f"{directory}: there are no keys here; make them with: fedloom device new")
    refuse_shared(directory)
    signing_bytes, seal_bytes, root_blob, credential_blob = (
        read_private(directory / name) for name in ("signing.key", "seal.key", "root", "credential")
    )
    try:
        root = open_root(root_blob, sha256(root_blob).digest())
        credential = open_credential(credential_blob, root)
        keys = DeviceKeys(SigningKey(signing_bytes), SealKey(root.suite, seal_bytes), root, credential)
    except (Refused, ValueError) as error:
        raise TrustError(f"{directory}: damaged ({error}); provision this device again") from None
    if (credential.signing, credential.seal) != (keys.signing.public, keys.seal.public):
        raise TrustError(f"{directory}: the credential is for other keys; provision this device again")
    return keys

"""A device's keys and documents: a directory of files that only the device may read.

signing.key   32 bytes, Ed25519            seal.key     32 or 96 bytes, HPKE (see fedloom.trust.seal)
tls.key       PEM, P-256                   root         the federation's newest root document that came
credential    the registrar's word for     tls.crt      PEM, the same for the TLS key
              this device                  ca.crt       PEM, the federation's authority

All keys are born on the device. Without `credential` it has not joined yet.
"""

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fedloom.errors import Refused, TrustError
from fedloom.files import create_private_directory, read_private, refuse_shared
from fedloom.trust.documents import Credential, Root, open_credential, open_root
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey


class DeviceSecrets(NamedTuple):
    """The private keys of a device."""

    signing: SigningKey
    seal: SealKey
    tls: bytes
    """PEM."""

    @classmethod
    def generate(cls, suite: SealSuite) -> "DeviceSecrets":
        """New keys from the operating system's randomness."""
        from fedloom.trust.certificates import new_key  # once a device: X.509 takes memory

        return cls(SigningKey.generate(), SealKey.generate(suite), new_key())

    def files(self) -> dict[str, bytes]:
        """Their files, by name."""
        return {"signing.key": self.signing.private, "seal.key": self.seal.private, "tls.key": self.tls}


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


def document_files(root: Root, root_document: bytes, credential: bytes, certificate: bytes) -> dict[str, bytes]:
    """The files of what others say of a device, by name; `certificate` is DER."""
    from fedloom.trust.certificates import to_pem

    pems = {"tls.crt": to_pem(certificate), "ca.crt": to_pem(root.registrar.ca)}
    return {"root": root_document, **pems, "credential": credential}


def write_device_keys(directory: Path, secrets: DeviceSecrets, documents: dict[str, bytes]) -> None:
    """Put a device's identity into `directory`, all or nothing; `documents` as from `document_files`.

    Raises:
        TrustError: there is one already; it is never overwritten.
    """
    try:
        create_private_directory(directory, secrets.files() | documents)
    except FileExistsError:
        raise TrustError(f"{directory}: is there already; choose an empty directory") from None


def load_secrets(directory: Path, suite: SealSuite) -> DeviceSecrets:
    """Read a device's private keys.

    Raises:
        TrustError: a file is missing, open to others, or damaged.
    """
    signing, seal, tls = (read_private(directory / name) for name in ("signing.key", "seal.key", "tls.key"))
    try:
        return DeviceSecrets(SigningKey(signing), SealKey(suite, seal), tls)
    except ValueError as error:
        raise _damaged(directory, error) from None


def load_device_keys(directory: Path) -> DeviceKeys:
    """Read and check a device's identity.

    Raises:
        TrustError: a file is missing, open to others, damaged, or does not fit the others.
    """
    if not directory.is_dir():
        raise TrustError(f"{directory}: there are no keys here; make them with: fedloom-edge join TOKEN")
    refuse_shared(directory)
    if not (directory / "credential").exists():
        raise TrustError(f"{directory}: this device has not joined yet; run again: fedloom-edge join TOKEN")
    root_blob, credential_blob = (read_private(directory / name) for name in ("root", "credential"))
    try:
        root = open_root(root_blob, sha256(root_blob).digest())
        credential = open_credential(credential_blob, root)
    except Refused as error:
        raise _damaged(directory, error) from None
    secrets = load_secrets(directory, root.suite)
    if (credential.signing, credential.seal) != (secrets.signing.public, secrets.seal.public):
        raise TrustError(f"{directory}: the credential is for other keys; provision this device again")
    return DeviceKeys(secrets.signing, secrets.seal, root, credential)


def _damaged(directory: Path, error: Exception) -> TrustError:
    return TrustError(f"{directory}: damaged ({error}); provision this device again")

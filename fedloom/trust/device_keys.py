"""A device's keys and documents: a directory of files that only the device may read.

signing.key   32 bytes, Ed25519            seal.key     32 or 96 bytes, HPKE (see fedloom.trust.seal)
tls.key       PEM, P-256                   root         the federation's newest root document that came
credential    the registrar's word for     tls.crt      PEM, the same for the TLS key
              this device                  ca.crt       PEM, the federation's authority
token         id of the token that it joined with, in hex; not there where the keys were provisioned as files

All keys are born on the device. Without `credential` it has not joined yet.
"""

import ssl
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fedloom.errors import Refused, TrustError
from fedloom.files import create_private_directory, read_private, refuse_shared
from fedloom.trust.documents import Credential, Root, open_root, peek_credential
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey


class DeviceSecrets(NamedTuple):
    """The private keys of a device."""

    signing: SigningKey
    seal: SealKey
    tls: bytes
    """PEM."""

    def __repr__(self) -> str:
        return f"DeviceSecrets({self.signing.id.hex()})"

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
    tls: bytes
    """PEM."""

    def __repr__(self) -> str:
        return f"DeviceKeys({self.id.hex()})"

    @property
    def id(self) -> bytes:
        """The device's id, 16 bytes."""
        return self.credential.device


def authority_pem(*certificates: bytes) -> bytes:
    """The file of the authorities (DER) that may sign the broker's certificate; once each."""
    return "".join(ssl.DER_cert_to_PEM_cert(each) for each in dict.fromkeys(certificates)).encode()


def pending_files(secrets: DeviceSecrets, root: Root, root_document: bytes, token_id: bytes) -> dict[str, bytes]:
    """The files of a device that is about to join, by name."""
    documents = {"root": root_document, "ca.crt": authority_pem(root.registrar.ca), "token": token_id.hex().encode()}
    return secrets.files() | documents


def member_files(credential: bytes, certificate: bytes) -> dict[str, bytes]:
    """The files of what the registrar says of a device, in the order in which they are to be written; `certificate` is
    DER.
    """
    return {"tls.crt": ssl.DER_cert_to_PEM_cert(certificate).encode(), "credential": credential}


def document_files(root: Root, root_document: bytes, credential: bytes, certificate: bytes) -> dict[str, bytes]:
    """The files of what others say of a device, by name; `certificate` is DER."""
    return {"root": root_document, "ca.crt": authority_pem(root.registrar.ca)} | member_files(credential, certificate)


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


def is_there(path: Path) -> bool:
    """Whether a file of a device's keys exists.

    Raises:
        TrustError: nobody can tell.
    """
    try:
        path.stat()
    except FileNotFoundError:
        return False
    except OSError as error:
        raise TrustError(f"{path}: cannot be read ({error.strerror}); run as the user that owns it") from None
    return True


def load_root(directory: Path) -> Root:
    """Read the root document that a device has accepted.

    Raises:
        TrustError: it is missing, open to others, or damaged.
    """
    document = read_private(directory / "root")
    try:
        return open_root(document, sha256(document).digest())
    except Refused as error:
        raise _damaged(directory, error) from None


def load_credential(directory: Path) -> Credential:
    """Read a device's credential. Who signed it was looked at when it came: the root may name another registrar by now.

    Raises:
        TrustError: it is missing, open to others, or damaged.
    """
    try:
        return peek_credential(read_private(directory / "credential"))
    except Refused as error:
        raise _damaged(directory, error) from None


def load_device_keys(directory: Path) -> DeviceKeys:
    """Read and check a device's identity.

    Raises:
        TrustError: a file is missing, open to others, damaged, or does not fit the others.
    """
    if not directory.is_dir():
        raise TrustError(f"{directory}: there are no keys here; make them with: fedloom-edge join TOKEN")
    refuse_shared(directory)
    if not is_there(directory / "credential"):
        raise TrustError(f"{directory}: this device has not joined yet; run again: fedloom-edge join TOKEN")
    root, credential = load_root(directory), load_credential(directory)
    secrets = load_secrets(directory, root.suite)
    if (credential.signing, credential.seal) != (secrets.signing.public, secrets.seal.public):
        raise TrustError(f"{directory}: the credential is for other keys; {_remedy(directory)}")
    if credential.federation != root.federation:
        raise TrustError(f"{directory}: root and credential are of two federations; {_remedy(directory)}")
    return DeviceKeys(secrets.signing, secrets.seal, root, credential, secrets.tls)


def _damaged(directory: Path, error: Exception) -> TrustError:
    return TrustError(f"{directory}: damaged ({error}); {_remedy(directory)}")


def _remedy(directory: Path) -> str:
    return f"remove {directory} and join again with a new token: fedloom-edge join TOKEN"

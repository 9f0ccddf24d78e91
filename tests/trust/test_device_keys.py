"""A device's identity on disk: private, complete, never overwritten."""

import os

import pytest

from fedloom.errors import TrustError
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of
from fedloom.trust.device_keys import DeviceSecrets, document_files, load_device_keys, write_device_keys
from fedloom.trust.documents import Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import SealSuite
from fedloom.trust.signing import SigningKey

REGISTRAR = SigningKey(b"\x09" * 32)
CA_KEY = new_key()
CA = new_authority(CA_KEY, "test", 1.9e9)
ROOT = Root(
    1, b"F" * 16, SealSuite.X25519, (REGISTRAR.public,), 1, Registrar(b"R" * 16, REGISTRAR.public, b"\5" * 32, CA), ()
)


def provision(directory):
    secrets = DeviceSecrets.generate(SealSuite.X25519)
    public = secrets.signing.public, secrets.seal.public
    credential = Credential(b"F" * 16, b"D" * 16, "pump", *public, 1_900_000_000, 2_000_000_000)
    certificate = Authority(CA_KEY, CA).issue(public_key_of(secrets.tls), (b"D" * 16).hex(), 0, 2**40)
    documents = sign_root(ROOT, REGISTRAR), sign_credential(credential, REGISTRAR)
    write_device_keys(directory, secrets, document_files(ROOT, *documents, certificate))
    return credential


def test_what_was_written_is_loaded(tmp_path):
    credential = provision(tmp_path / "keys")
    keys = load_device_keys(tmp_path / "keys")
    assert (keys.credential, keys.root, keys.id) == (credential, ROOT, b"D" * 16)


def test_everything_is_private(tmp_path):
    os.umask(0)
    try:
        provision(tmp_path / "keys")
    finally:
        os.umask(0o022)
    assert (tmp_path / "keys").stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in (tmp_path / "keys").iterdir()} == {0o600}


def test_an_identity_is_never_overwritten(tmp_path):
    provision(tmp_path / "keys")
    before = {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()}
    with pytest.raises(TrustError, match="is there already"):
        provision(tmp_path / "keys")
    assert {path: path.read_bytes() for path in (tmp_path / "keys").iterdir()} == before


@pytest.mark.parametrize("name", ["signing.key", "seal.key", "root", "credential"])
def test_files_that_others_can_read_are_refused_with_the_remedy(tmp_path, name):
    provision(tmp_path / "keys")
    (tmp_path / "keys" / name).chmod(0o644)
    with pytest.raises(TrustError, match=f"mode 0644 lets others in; run: chmod 600 .*{name}"):
        load_device_keys(tmp_path / "keys")


def test_a_directory_that_others_can_enter_is_refused(tmp_path):
    provision(tmp_path / "keys")
    (tmp_path / "keys").chmod(0o755)
    with pytest.raises(TrustError, match="chmod 700"):
        load_device_keys(tmp_path / "keys")


@pytest.mark.parametrize("name", ["signing.key", "seal.key", "root", "credential"])
def test_missing_and_damaged_files_are_named(tmp_path, name):
    provision(tmp_path / "keys")
    path = tmp_path / "keys" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(TrustError, match="damaged"):
        load_device_keys(tmp_path / "keys")
    path.unlink()
    with pytest.raises(TrustError, match="has not joined" if name == "credential" else name):
        load_device_keys(tmp_path / "keys")


def test_keys_of_another_device_do_not_fit(tmp_path):
    provision(tmp_path / "keys")
    (tmp_path / "keys" / "signing.key").write_bytes(SigningKey.generate().private)
    with pytest.raises(TrustError, match="for other keys"):
        load_device_keys(tmp_path / "keys")


def test_no_keys_names_the_command(tmp_path):
    with pytest.raises(TrustError, match="fedloom-edge join"):
        load_device_keys(tmp_path / "nowhere")

"""What the doctors make of the errors that they meet: what is wrong in one field, what to do in the other."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from edge_client.outbox import StateDirectory
from fedloom.errors import FedloomError, LinkError, StoreError, TrustError
from fedloom.files import write_durably
from fedloom.health.findings import describe, from_error
from fedloom.link.config import MqttConfig
from fedloom.link.mqtt_probe import Probe
from fedloom.trust.certificates import Authority, new_authority, new_key, public_key_of
from fedloom.trust.device_keys import DeviceSecrets, document_files, load_device_keys, write_device_keys
from fedloom.trust.documents import AggregatorKey, Credential, Registrar, Root, sign_credential, sign_root
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.trust.signing import SigningKey


def make_keys(directory: Path, federation: bytes = b"F" * 16) -> None:
    """A device's keys."""
    registrar, ca_key, secrets = SigningKey.generate(), new_key(), DeviceSecrets.generate(SealSuite.X25519)
    ca, seal = new_authority(ca_key, "test", 1.9e9), SealKey.generate(SealSuite.X25519)
    who = Registrar(b"R" * 16, registrar.public, seal.public, ca)
    aggregator = AggregatorKey(b"A" * 16, registrar.public)
    root = Root(1, federation, SealSuite.X25519, (registrar.public,), 1, who, (aggregator,))
    credential = Credential(federation, b"D" * 16, "pump", secrets.signing.public, secrets.seal.public, 0, 2**40)
    certificate = Authority(ca_key, ca).issue(public_key_of(secrets.tls), (b"D" * 16).hex(), 0, 2**40)
    signed = sign_root(root, registrar), sign_credential(credential, registrar), certificate
    write_device_keys(directory, secrets, document_files(root, *signed))


def missing(directory: Path) -> None:
    load_device_keys(directory / "nowhere")


def not_joined(directory: Path) -> None:
    make_keys(directory / "keys")
    (directory / "keys" / "credential").unlink()
    load_device_keys(directory / "keys")


def open_to_others(directory: Path) -> None:
    make_keys(directory / "keys")
    (directory / "keys" / "seal.key").chmod(0o644)
    load_device_keys(directory / "keys")


def unreadable(directory: Path) -> None:
    make_keys(directory / "keys")
    (directory / "keys" / "seal.key").unlink()
    load_device_keys(directory / "keys")


def damaged(directory: Path) -> None:
    make_keys(directory / "keys")
    (directory / "keys" / "root").write_bytes(b"; ")
    load_device_keys(directory / "keys")


def damaged_secret(directory: Path) -> None:
    make_keys(directory / "keys")
    (directory / "keys" / "signing.key").write_bytes(b"short")
    load_device_keys(directory / "keys")


def _mixed(directory: Path, name: str, federation: bytes) -> None:
    make_keys(directory / "keys")
    make_keys(directory / "other", federation)
    write_durably(directory / "keys" / name, (directory / "other" / name).read_bytes())
    load_device_keys(directory / "keys")


def other_credential(directory: Path) -> None:
    _mixed(directory, "credential", b"F" * 16)


def other_federation(directory: Path) -> None:
    _mixed(directory, "root", b"G" * 16)


def damaged_state(directory: Path) -> None:
    (directory / "state").write_bytes(b"not it")
    StateDirectory(directory).read()


def held_state(directory: Path) -> None:
    holder = StateDirectory(directory)
    holder.hold()
    try:
        StateDirectory(directory).hold()
    finally:
        holder.release()


def shared_state(directory: Path) -> None:
    directory.chmod(0o755)
    StateDirectory(directory).hold()


def nobody_listens(_: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    Probe(MqttConfig("127.0.0.1", port), "me", None)


def broker_hangs_up(_: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with suppress(OSError):
                for _ in range(2):
                    server.accept()[0].close()

        threading.Thread(target=hang_up, daemon=True).start()
        Probe(MqttConfig("127.0.0.1", server.getsockname()[1]), "me", None)


@pytest.mark.parametrize(
    ("happens", "kind", "seen", "do"),
    [
        (missing, TrustError, "there are no keys here", "make them with: fedloom-edge join TOKEN"),
        (not_joined, TrustError, "this device has not joined yet", "run again: fedloom-edge join TOKEN"),
        (open_to_others, TrustError, "mode 0644 lets others in", "run: chmod 600 {}/keys/seal.key"),
        (unreadable, TrustError, "cannot be read (No such file or directory)", "run as the user that owns it"),
        (damaged, TrustError, "damaged", "remove {}/keys and join again"),
        (damaged_secret, TrustError, "damaged", "remove {}/keys and join again"),
        (other_credential, TrustError, "the credential is for other keys", "remove {}/keys and join again"),
        (other_federation, TrustError, "are of two federations", "remove {}/keys and join again"),
        (damaged_state, StoreError, "not a file of this version", "run: fedloom-edge repair"),
        (held_state, StoreError, "another fedloom-edge is using", "stop it, or name another"),
        (shared_state, TrustError, "lets others in", "run: chmod 700"),
        (nobody_listens, LinkError, "refused", "check address, TLS and network"),
        (broker_hangs_up, LinkError, "the broker hung up", "find out why in the broker's log"),
    ],
)
def test_an_error_that_the_doctor_meets_says_what_to_do(
    happens: Callable[[Path], None], kind: type[FedloomError], seen: str, do: str, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    with pytest.raises(kind) as raised:
        happens(tmp_path)
    found = from_error("keys", raised.value)
    assert seen in found.seen
    assert found.do.startswith(do.format(tmp_path))
    assert f"{found.seen}; {found.do}" == str(raised.value)  # nothing is lost


def test_an_error_without_a_remedy_invents_none() -> None:
    found = from_error("keys", TrustError("root: does not fit"))
    assert (found.seen, found.do) == ("root: does not fit", "")
    assert describe(found) == "FAIL  keys: root: does not fit"

"""`fedloom broker config`: what it keeps, makes again and refuses. The broker itself is tried in tests/deploy."""

import json
import stat
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from aggregator import keys
from aggregator.broker import material as broker_material
from aggregator.broker.files import Wanted, write
from aggregator.config import AggregatorConfig
from aggregator.enrolment.provision import new_device
from aggregator.store import open_store
from fedloom.errors import ConfigError, TrustError
from fedloom.trust.tokens import Broker, TlsMode

DAY_S = 86_400
HOSTS = ("hub.example.org", "192.0.2.7")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Of a federation with the devices a and b."""
    keys.init(tmp_path / "hub", "x25519")
    for name in ("a", "b"):
        new_device(tmp_path / "hub", name, tmp_path / name, broker=Broker("localhost", 8883, TlsMode.FEDERATION))
    return tmp_path / "hub"


def wanted(state: Path, **changes: Any) -> Wanted:
    return Wanted("mosquitto", state.parent / "out", HOSTS)._replace(**changes)


def contents(state: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((state.parent / "out").rglob("*")) if path.is_file()}


def revoke(state: Path, name: str) -> str:
    """Returns its id."""
    with open_store(state) as store:
        store.revoke_device(name)
        return next(device.id.hex() for device in store.devices() if device.name == name)


def certificate(state: Path, name: str) -> x509.Certificate:
    part = "aggregator" if name == "aggregator" else "broker"
    return x509.load_pem_x509_certificate((state.parent / "out" / part / f"{name}.crt").read_bytes())


def common_name(of: x509.Certificate) -> str:
    return str(of.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)


def names(files: list[str]) -> set[str]:
    return {Path(file).name for file in files}


def test_everything_is_there_and_private(state: Path) -> None:
    wrote = write(state, wanted(state))
    out = state.parent / "out"
    broker = {"mosquitto.conf", "acl", "acl-join", "ca.crt", "broker.crt", "broker.key", "crl.pem"}
    assert {path.name for path in (out / "broker").iterdir()} == broker
    assert {path.name for path in (out / "aggregator").iterdir()} == {"ca.crt", "aggregator.crt", "aggregator.key"}
    assert names(wrote.files) == broker | {"aggregator.crt", "aggregator.key"}
    for path in out.rglob("*/*"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    for part in ("broker", "aggregator"):
        assert stat.S_IMODE((out / part).stat().st_mode) == 0o700


def test_the_brokers_certificate_has_its_names(state: Path) -> None:
    write(state, wanted(state))
    shown = certificate(state, "broker").extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert {str(each.value) for each in shown} == set(HOSTS)


def test_again_it_writes_nothing(state: Path) -> None:
    write(state, wanted(state))
    before = contents(state)
    assert write(state, wanted(state)).files == []
    assert contents(state) == before


def test_after_a_revocation_only_the_two_lists_change(state: Path) -> None:
    write(state, wanted(state))
    device = revoke(state, "a")
    wrote = write(state, wanted(state))
    assert names(wrote.files) == {"acl", "crl.pem"}
    assert wrote.revoked == 1
    acl = contents(state)["acl"].decode()
    assert f"user {device}\ntopic deny #\n" in acl
    listed = x509.load_pem_x509_crl(contents(state)["crl.pem"])
    held = x509.load_pem_x509_certificate((state.parent / "a" / "keys" / "tls.crt").read_bytes())
    assert [each.serial_number for each in listed] == [held.serial_number]
    assert listed.next_update_utc is not None
    assert listed.next_update_utc.timestamp() > time.time() + 5 * 365 * DAY_S


def test_expired_certificates_of_revoked_devices_are_not_listed(state: Path) -> None:
    revoke(state, "a")
    with open_store(state) as store:
        assert len(broker_material.revoked_certificates(store, time.time())) == 1
        assert broker_material.revoked_certificates(store, time.time() + 61 * DAY_S) == []


def test_another_name_of_the_broker_makes_its_certificate_again_and_nothing_else(state: Path) -> None:
    write(state, wanted(state))
    assert names(write(state, wanted(state, hosts=("other.example.org",))).files) == {"broker.crt", "broker.key"}


def test_another_spelling_of_a_name_is_no_other_name(state: Path) -> None:
    write(state, wanted(state, hosts=("Hub.example.org", "2001:DB8:0::1")))
    assert write(state, wanted(state, hosts=("hub.example.org", "2001:db8::1"))).files == []


def test_certificates_are_made_again_before_they_expire(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(broker_material, "CERTIFICATE_DAYS", broker_material.RENEW_DAYS - 1)
    write(state, wanted(state))
    before = common_name(certificate(state, "aggregator"))
    monkeypatch.undo()
    again = write(state, wanted(state))
    assert names(again.files) == {"broker.crt", "broker.key", "aggregator.crt", "aggregator.key", "acl"}
    after = common_name(certificate(state, "aggregator"))
    assert after != before
    assert f"user {after}\n" in contents(state)["acl"].decode()
    assert before not in contents(state)["acl"].decode()


@pytest.mark.parametrize("name", ["broker", "aggregator"])
@pytest.mark.parametrize("damage", ["another key", "no key", "not a certificate"])
def test_what_does_not_fit_is_made_again(state: Path, name: str, damage: str) -> None:
    """As after a power cut between the two files."""
    write(state, wanted(state))
    key = state.parent / "out" / name / f"{name}.key"
    if damage == "no key":
        key.unlink()
    elif damage == "another key":
        key.write_bytes((state.parent / "a" / "keys" / "tls.key").read_bytes())
    else:
        key.with_suffix(".crt").write_text("x")
    assert {f"{name}.crt", f"{name}.key"} <= names(write(state, wanted(state)).files)
    assert write(state, wanted(state)).files == []


def test_files_of_another_federation_are_made_again(state: Path, tmp_path: Path) -> None:
    write(state, wanted(state))
    keys.init(tmp_path / "other", "x25519")
    again = write(tmp_path / "other", wanted(state))
    assert names(again.files) >= {"broker.key", "broker.crt", "aggregator.key", "aggregator.crt", "ca.crt", "crl.pem"}


def test_the_lines_that_it_prints_are_a_configuration(state: Path) -> None:
    wrote = write(state, wanted(state, join_port=9999))
    read = msgspec.convert({"job": "job.toml"} | tomllib.loads(wrote.aggregator_toml), AggregatorConfig)
    assert (read.broker.host, read.broker.port, read.devices.join_port) == ("hub.example.org", 8883, 9999)
    assert read.broker.tls is not None
    for path in (read.broker.tls.ca, read.broker.tls.cert, read.broker.tls.key):
        assert Path(path).is_file()
    assert read.devices_broker().tls is TlsMode.FEDERATION


def test_without_a_port_for_joining_there_is_no_listener_for_strangers(state: Path) -> None:
    write(state, wanted(state, join_port=0))
    files = contents(state)
    assert "acl-join" not in files
    assert files["mosquitto.conf"].count(b"\nlistener ") == 1
    assert b"allow_anonymous true" not in files["mosquitto.conf"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"hosts": ("a b",)}, "--host"),
        ({"hosts": ("hub\nallow_anonymous true",)}, "--host"),
        ({"hosts": ("",)}, "--host"),
        ({"hosts": ("hub.example.org:8883",)}, "--host"),
        *(({"hosts": (host,)}, "--host") for host in ("..", "-", "a..b", "-hub", "hub-", ".hub", "hub.", "a" * 64)),
        ({"join_port": 8883}, "--join-port"),
        ({"port": 8884}, "--join-port"),
        ({"at": ""}, "--at"),
        ({"kind": "aws-iot", "port": 443}, "--port"),
        ({"kind": "aws-iot", "join_port": 0}, "--join-port"),
        ({"kind": "aws-iot", "at": "/"}, "--at"),
        ({"at": "etc"}, "--at"),
        ({"at": "/etc/\nallow_anonymous true"}, "--at"),
        ({"out": Path("/tmp/with space")}, "--out"),
    ],
)
def test_what_cannot_stand_in_a_configuration_is_refused(state: Path, changes: Any, field: str) -> None:
    with pytest.raises(ConfigError) as caught:
        write(state, wanted(state, **changes))
    assert caught.value.field == field
    assert not (state.parent / "out").exists()


def test_the_broker_may_have_its_files_in_the_root_directory(state: Path) -> None:
    write(state, wanted(state, at="/"))
    assert "crlfile /crl.pem\n" in contents(state)["mosquitto.conf"].decode()


@pytest.mark.parametrize("host", ["hub", "hub_1.local", "10.0.0.1", "2001:db8::1", ".".join(["a" * 63] * 3)])
def test_these_are_hosts(state: Path, host: str) -> None:
    write(state, wanted(state, hosts=(host,)))


def test_a_broker_that_somebody_else_runs_gets_no_certificate_of_ours(state: Path) -> None:
    wrote = write(state, wanted(state, kind="aws-iot"))
    policies = {"device-policy.json", "aggregator-policy.json", "revoked.txt", "README.txt", "ca.crt"}
    assert names(wrote.files) == policies | {"aggregator.crt", "aggregator.key"}
    assert common_name(certificate(state, "aggregator")) == keys.load(state).id.hex()
    read = msgspec.convert({"job": "job.toml"} | tomllib.loads(wrote.aggregator_toml), AggregatorConfig)
    assert (read.broker.port, read.devices_broker().tls) == (8883, TlsMode.SYSTEM)


def test_a_directory_that_others_can_enter_is_refused(state: Path) -> None:
    (state.parent / "out" / "broker").mkdir(parents=True, mode=0o755)
    with pytest.raises(TrustError, match="chmod 700"):
        write(state, wanted(state))


def test_the_command_says_what_it_wrote_and_how_to_apply_it(state: Path) -> None:
    config = state.parent / "aggregator.toml"
    config.write_text('job = "job.toml"\nstate = "hub"\n[broker]\nhost = "hub.example.org"\n')
    command = [sys.executable, "-m", "fedloom.command", "broker", "config", "mosquitto", "--config", str(config)]
    command += ["--out", str(state.parent / "out"), "--at", "/etc/mosquitto"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    assert f"wrote {state.parent}/out/broker/mosquitto.conf" in said
    assert "systemctl reload mosquitto" in said
    assert "PRIVATE" not in said
    conf = contents(state)["mosquitto.conf"].decode()
    assert "crlfile /etc/mosquitto/crl.pem\n" in conf
    again = subprocess.run([*command, "--json"], check=True, capture_output=True, text=True, timeout=60).stdout
    assert json.loads(again)["files"] == []

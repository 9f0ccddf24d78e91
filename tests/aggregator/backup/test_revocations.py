"""Who was revoked since the backup is in again after a restore: that is said loudly, and the broker's list mends it."""

import json
import shutil

import pytest

from aggregator import keys
from aggregator.backup.restore import restore
from aggregator.backup.take import take
from aggregator.broker import material
from aggregator.store import Store
from fedloom.command import main
from fedloom.errors import StoreError


def quiet(*progress):
    """Nobody watches."""


def in_again(state):
    with Store(state / "aggregator.db") as store:
        return [device.name for device in store.devices() if not device.revoked]


@pytest.fixture
def lost(rig, tmp_path):
    """device-0 was revoked before the backup, device-1 after it; the broker's list has both; the host is gone."""
    store = rig.parts.archive.store
    store.revoke_device("device-0")
    take(rig.state, tmp_path / "backup", quiet)
    store.revoke_device("device-1")
    authority = keys.load(rig.state).registrar.authority
    material.revocation_list(tmp_path / "crl.pem", authority, material.revoked_certificates(store, 0.0))
    rig.crash()
    shutil.rmtree(rig.state)
    return rig


def test_with_the_brokers_list_nobody_who_was_revoked_is_in(lost, tmp_path):
    assert restore(tmp_path / "backup", lost.state, quiet, tmp_path / "crl.pem").revoked == ["device-1"]
    assert in_again(lost.state) == ["device-2"]
    lost.boot()


@pytest.mark.parametrize("harm", ["gone", "noise", "foreign"])
def test_a_list_that_is_not_of_this_federation_changes_nothing(lost, tmp_path, harm):
    path = tmp_path / "crl.pem"
    if harm == "gone":
        path.unlink()
    elif harm == "noise":
        path.write_text("noise")
    else:
        path.unlink()
        material.revocation_list(path, keys.init(tmp_path / "other", "x25519").registrar.authority, ())
    with pytest.raises(StoreError, match=r"crl\.pem: .*; name the crl\.pem that the broker"):
        restore(tmp_path / "backup", lost.state, quiet, path)
    assert not (lost.state / "keys").exists()
    restore(tmp_path / "backup", lost.state, quiet)


@pytest.mark.parametrize("options", [(), ("--revoked", "crl.pem")])
def test_the_command_says_who_is_in_and_what_to_do(lost, tmp_path, capsys, monkeypatch, options):
    (lost.directory / "aggregator.toml").write_text('job = "job.toml"\n[broker]\nhost = "localhost"\n')
    monkeypatch.chdir(lost.directory)
    shutil.copy(tmp_path / "crl.pem", lost.directory / "crl.pem") if lost.directory != tmp_path else None

    def said(*more):
        with pytest.raises(SystemExit) as end:
            main(["aggregator", "restore", str(tmp_path / "backup"), *options, *more])
        assert not end.value.code
        return capsys.readouterr().out

    out = said()
    assert "fedloom device revoke NAME" in out
    assert ("device-1 is revoked again" in out) == bool(options)
    assert ("IS IN AGAIN" in out) == (not options)
    shutil.rmtree(lost.state)
    found = json.loads(said("--json"))
    assert found.get("revoked") == (["device-1"] if options else None)
    assert len(found["to_do"]) == 3

"""`fedloom-edge repair`, and what shows that a state directory is an old copy."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge_client.cli import main
from edge_client.config import EdgeConfig
from edge_client.doctor import _state
from edge_client.incarnation import FILE, next_incarnation
from edge_client.inspection import status
from edge_client.outbox import StateDirectory
from edge_client.shell import open_session
from edge_client.state import DeviceState
from fedloom.data.config import SourceConfig
from fedloom.errors import StoreError
from fedloom.health.findings import Level
from fedloom.learning.model import Model
from fedloom.learning.model_file import save
from fedloom.learning.spec import ModelSpec
from fedloom.link.config import MqttConfig
from fedloom.trust.device_keys import load_device_keys

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def home(aggregator: Any, tmp_path: Path) -> Path:
    """Keys, a configuration, and the state of a device that has come as far as manifest 7."""
    aggregator.write_keys(tmp_path / "keys")
    (tmp_path / "edge.toml").write_text('[broker]\nhost = "localhost"\n[data]\npath = "data.csv"\n')
    number = next_incarnation(tmp_path / "keys", 1_700_000_000.0)
    with_state(tmp_path).write_state(DeviceState(aggregator.device, number, 5000, 7, b"h" * 32, root_version=1))
    return tmp_path


def with_state(home: Path) -> StateDirectory:
    directory = StateDirectory(home / "state")
    directory.hold()
    directory.release()
    return directory


def config_of(home: Path) -> EdgeConfig:
    data = SourceConfig(str(home / "data.csv"))
    return EdgeConfig(MqttConfig("localhost"), data, state=str(home / "state"), keys=str(home / "keys"))


@pytest.fixture
def repair(home: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*options: str) -> tuple[int, str, str]:
        code = main(["repair", "--config", str(home / "edge.toml"), *options])
        out, err = capsys.readouterr()
        return code, out, err

    return run


def spoil(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_sound_directory_is_left_alone(home: Path, repair: Run) -> None:
    before = with_state(home).read()
    assert repair()[:2] == (0, "nothing is damaged\n")
    assert with_state(home).read() == before


def test_damaged_state_is_named_and_nothing_is_done_unasked(home: Path, repair: Run) -> None:
    spoil(home / "state" / "state")
    with pytest.raises(StoreError, match="fedloom-edge repair"):
        with_state(home).read()
    code, out, err = repair()
    assert code == 1
    assert "--yes" in err
    assert "cannot tell an old one from the newest" in out
    assert not list((home / "state").glob("*.damaged-*"))


def test_repair_sets_it_aside_and_keeps_what_can_be_known(home: Path, repair: Run) -> None:
    spoil(home / "state" / "state")
    code, out, _ = repair("--yes", "--json")
    assert code == 0
    assert [Path(step["path"]).name for step in json.loads(out)] == ["state"]
    keys = load_device_keys(home / "keys")
    state = with_state(home).read().state
    assert state is not None
    assert state.incarnation > 1_700_000_000
    assert (state.root_version, state.time_floor) == (keys.root.version, keys.credential.not_before)
    assert (home / "state" / "state.damaged-1").exists()
    assert open_session(config_of(home), keys, with_state(home))


def test_an_old_copy_of_the_state_is_refused_and_numbered_anew(home: Path, repair: Run) -> None:
    shutil.copytree(home / "state", home / "copy")
    next_incarnation(home / "keys", 1_800_000_000.0)  # the state was lost since
    keys = load_device_keys(home / "keys")
    with pytest.raises(StoreError, match=r"old copy.*fedloom-edge repair"):
        open_session(config_of(home), keys, with_state(home))
    found = list(_state(with_state(home), 1.9e9, home / "keys"))
    assert [each.check for each in found if each.level is Level.FAIL] == ["state's age"]
    assert repair("--yes")[0] == 0
    state = with_state(home).read().state
    assert state is not None
    assert state.incarnation > 1_800_000_000
    assert (state.manifest_version, state.manifest_hash) == (7, b"h" * 32)


def test_whoever_has_restored_a_copy_may_say_so(home: Path, repair: Run) -> None:
    before = with_state(home).read().state
    assert repair("--yes", "--restored")[0] == 0
    after = with_state(home).read().state
    assert before is not None
    assert after is not None
    assert after.incarnation > before.incarnation
    assert after.manifest_version == before.manifest_version


def test_a_damaged_counter_begins_again_above_the_state(home: Path, repair: Run) -> None:
    before = with_state(home).read().state
    (home / "keys" / FILE).write_bytes(b"\xff")
    with pytest.raises(StoreError, match="fedloom-edge repair"):
        open_session(config_of(home), load_device_keys(home / "keys"), with_state(home))
    assert repair("--yes")[0] == 0
    after = with_state(home).read().state
    assert before is not None
    assert after is not None
    assert after.incarnation > before.incarnation


@pytest.mark.parametrize("name", ["model", "personal"])
def test_a_damaged_final_model_is_told_and_set_aside(home: Path, repair: Run, name: str) -> None:
    path = home / "state" / f"{name}.fedloom"
    spec = ModelSpec(inputs=2, outputs=1)
    save(Model(spec=spec, loss="mse", weights=np.zeros(spec.layout().size, np.float32)), path)
    assert getattr(status(config_of(home)), f"{name}_problem") == ""
    spoil(path)
    assert "damaged" in getattr(status(config_of(home)), f"{name}_problem")
    assert repair("--yes")[0] == 0
    assert getattr(status(config_of(home)), name) == ""


def test_a_running_device_is_not_repaired(home: Path, repair: Run) -> None:
    directory = StateDirectory(home / "state")
    directory.hold()
    code, _, err = repair("--yes")
    directory.release()
    assert code == 1
    assert "another fedloom-edge" in err

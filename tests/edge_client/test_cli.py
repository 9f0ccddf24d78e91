"""The command as a user meets it: exit statuses, one-line errors, and the sample configuration."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from edge_client import cli
from edge_client.config import EdgeConfig, Flower, load_config
from edge_client.outbox import StateDirectory
from edge_client.state import DeviceState
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError
from fedloom.link.config import Tls

ROOT = Path(__file__).parents[2]
GOOD = '[broker]\nhost = "127.0.0.1"\n[data]\npath = "data.csv"\n'
JOB = """
name = "toy"
[model]
inputs = 2
outputs = 2
[data]
features = ["ax", "ay"]
target = "move"
classes = ["a", "b"]
[training]
loss = "cross_entropy"
[rounds]
count = 1
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def main(*arguments: Any) -> tuple[int, str, str]:
        status = cli.main([str(each) for each in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return main


@pytest.fixture
def config(aggregator: Any, tmp_path: Path) -> Path:
    aggregator.write_keys(tmp_path / "keys")
    (tmp_path / "data.csv").write_text("move,ax,ay\n" + "a,1,2\nb,3,4\n" * 10)
    (tmp_path / "job.toml").write_text(JOB)
    path = tmp_path / "edge.toml"
    path.write_text(GOOD)
    return path


def error(outcome: tuple[int, str, str], status: int = 2) -> str:
    """The one line that a failing command says."""
    assert outcome[0] == status
    assert outcome[1] == ""
    (line,) = outcome[2].splitlines()
    assert line.startswith("fedloom-edge: error: ")
    return line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("host", "hsot"), "broker.hsot: is not a known key; did you mean 'host'?"),
        (('host = "127.0.0.1"', 'host = "h"\nport = 99999'), "broker.port: 99999"),
        (("[data]", "[dta]"), "dta: is not a known key; did you mean 'data'?"),
        (('path = "data.csv"', ""), "data.path: is missing"),
        (("[broker]", "[broker"), "is not TOML"),
        (("[broker]", '[log]\nlevel = "loud"\n[broker]'), "log.level: 'loud'"),
        (("[broker]", "[limits]\nmax_model_bytes = -1\n[broker]"), "limits.max_model_bytes: -1"),
    ],
)
def test_a_wrong_configuration_is_one_line(run: Run, config: Path, change: tuple[str, str], said: str) -> None:
    config.write_text(GOOD.replace(*change))
    line = error(run("run", "--config", config))
    assert str(config) in line
    assert said in line
    assert not (config.parent / "state").exists()


def test_a_missing_configuration_is_one_line(run: Run, tmp_path: Path) -> None:
    assert "there is no such file" in error(run("run", "--config", tmp_path / "none.toml"))


def test_keys_that_others_can_read_are_refused(run: Run, config: Path) -> None:
    key = config.parent / "keys" / "signing.key"
    key.chmod(0o644)
    for command in ("run", "check"):
        assert f"{key}: mode 0644 lets others in; run: chmod 600 {key}" in error(run(command, "--config", config))
    assert not (config.parent / "state").exists()


@pytest.mark.parametrize("name", ["signing.key", "seal.key", "root", "credential"])
def test_missing_and_damaged_keys_are_refused(run: Run, config: Path, name: str) -> None:
    path = config.parent / "keys" / name
    content = path.read_bytes()
    path.write_bytes(content[:-1])
    assert "damaged" in error(run("check", "--config", config))
    path.unlink()
    assert ("has not joined" if name == "credential" else name) in error(run("check", "--config", config))


def test_no_keys_at_all_says_how_to_make_them(run: Run, config: Path) -> None:
    config.write_text('keys = "nowhere"\n' + GOOD)
    assert "fedloom-edge join" in error(run("run", "--config", config))


def test_another_devices_state_is_refused(run: Run, config: Path) -> None:
    directory = StateDirectory(config.parent / "state")
    directory.hold()
    directory.write_state(DeviceState(b"X" * 16, 1))
    directory.release()
    assert "belongs to device" in error(run("run", "--config", config), status=1)


def test_damaged_state_is_never_reset(run: Run, config: Path) -> None:
    directory = StateDirectory(config.parent / "state")
    directory.hold()
    directory.release()
    (directory.path / "state").write_bytes(b"FLS\x01 and then nonsense that is long enough for a digest")
    assert "fedloom-edge repair" in error(run("run", "--config", config), status=1)
    assert "fedloom-edge repair" in error(run("status", "--config", config), status=1)


def test_a_missing_password_file_is_refused(run: Run, config: Path) -> None:
    config.write_text(GOOD.replace("[data]", 'password_file = "password"\n[data]'))
    for command in ("run", "check"):
        assert "password_file" in error(run(command, "--config", config))


def test_check_says_what_it_finds(run: Run, config: Path, aggregator: Any) -> None:
    status, said, _ = run("check", "--config", config)
    assert status == 0
    assert aggregator.device.hex() in said
    assert "127.0.0.1:1883, no TLS" in said
    status, said, _ = run("check", "--config", config, "--job", config.parent / "job.toml")
    assert status == 0
    assert "16 samples to train on, 4 held out" in said


def test_check_finds_bad_data(run: Run, config: Path) -> None:
    (config.parent / "data.csv").write_text("move,ax,ay\na,1,nan\n")
    line = error(run("check", "--config", config, "--job", config.parent / "job.toml"))
    assert "data.csv" in line
    assert "line 2" in line
    (config.parent / "data.csv").unlink()
    assert "cannot be read" in error(run("check", "--config", config))


def test_status_of_a_device_that_never_ran_and_of_one_that_did(run: Run, config: Path) -> None:
    status, said, _ = run("status", "--config", config, "--json")
    assert status == 0
    assert json.loads(said)["running"] is False
    directory = StateDirectory(config.parent / "state")
    directory.hold()
    directory.write_state(DeviceState(b"X" * 16, 5, 0, 7, b"h" * 32))
    status, said, _ = run("status", "--config", config)
    assert "running: True" in said
    assert "manifest version: 7" in said
    directory.release()


def test_status_tells_membership_root_time_and_silence(run: Run, config: Path, aggregator: Any) -> None:
    directory = StateDirectory(config.parent / "state")
    directory.hold()
    state = DeviceState(aggregator.device, 5, root_version=1, time_floor=1_900_000_000)
    directory.write_state(state)
    directory.silent.write(1_900_000_100.0)
    directory.release()
    shown = json.loads(run("status", "--config", config, "--json")[1])
    assert shown["membership"] == "joined"
    assert shown["device"] == aggregator.device.hex()
    assert shown["root_version"] == 1
    assert shown["time_floor"] == "2030-03-17T17:46:40Z"
    assert shown["silent_since"] == "2030-03-17T17:48:20Z"
    (config.parent / "keys" / "credential").write_bytes(aggregator.credential(1_899_999_999))
    shown = json.loads(run("status", "--config", config, "--json")[1])
    assert (shown["membership"], shown["valid_until"]) == ("expired", "2030-03-17T17:46:39Z")
    (config.parent / "keys" / "credential").unlink()
    assert json.loads(run("status", "--config", config, "--json")[1])["membership"] == "pending"
    shutil.rmtree(config.parent / "keys")
    assert json.loads(run("status", "--config", config, "--json")[1])["membership"] == "none"


def test_check_tells_the_credential_and_an_old_copy_of_the_root(run: Run, config: Path, aggregator: Any) -> None:
    (config.parent / "keys" / "credential").write_bytes(aggregator.credential(1_900_000_000))
    _, said, _ = run("check", "--config", config)
    assert "credential: until 2030-03-17T17:46:40Z" in said
    assert "root: version 1\n" in said
    directory = StateDirectory(config.parent / "state")
    directory.hold()
    directory.write_state(DeviceState(aggregator.device, 5, root_version=3))
    directory.release()
    assert "root: version 1, an old copy of 3" in run("check", "--config", config)[1]


def test_help_has_examples_and_version_has_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    for option, said in (("--help", "examples:"), ("--version", "fedloom-edge ")):
        with pytest.raises(SystemExit) as left:
            cli.main([option])
        assert left.value.code == 0
        assert said in capsys.readouterr().out


def test_wrong_arguments_exit_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(["run"])
    assert left.value.code == 2
    assert "--config" in capsys.readouterr().err


def test_the_sample_configuration_is_one() -> None:
    config = load_config(ROOT / "deploy" / "edge.toml")
    assert config.broker.tls is not None


def test_every_key_is_in_the_sample_with_its_default() -> None:
    text = (ROOT / "deploy" / "edge.toml").read_text()
    bare = re.sub(r"^# (\w+ = |\[\w+\])", r"\1", text, flags=re.MULTILINE)
    shown = msgspec.toml.decode(bare.encode())
    commented = set(re.findall(r"^# (\w+) = ", text, re.MULTILINE))
    msgspec.convert(shown, EdgeConfig)
    _compare(EdgeConfig, shown, commented, "")


OPTIONAL = {"tls": Tls, "data": SourceConfig, "flower": Flower}
"""Tables that may be left out."""


def _compare(kind: Any, shown: dict[str, Any], commented: set[str], place: str) -> None:
    for field in msgspec.structs.fields(kind):
        name = f"{place}{field.encode_name}"
        assert field.encode_name in shown, f"{name} is not in deploy/edge.toml"
        inner = OPTIONAL.get(field.name, field.type)
        if isinstance(inner, type) and issubclass(inner, msgspec.Struct):
            _compare(inner, shown[field.encode_name], commented, f"{name}.")
        elif field.encode_name in commented and field.default is not msgspec.NODEFAULT:
            assert shown[field.encode_name] == field.default, f"{name} has another default"


def test_paths_are_relative_to_the_file(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEDLOOM_EDGE__BROKER__PORT", "8883")
    monkeypatch.setenv("FEDLOOM_EDGE__BROKER__TLS__CA", "ca.crt")
    read = load_config(config)
    base = config.parent
    assert (read.keys, read.state, read.data.path) == tuple(str(base / each) for each in ("keys", "state", "data.csv"))
    assert read.broker.port == 8883
    assert read.broker.tls == Tls(ca=str(base / "ca.crt"))
    monkeypatch.setenv("FEDLOOM_EDGE__BROKER__PRT", "1")
    with pytest.raises(ConfigError, match="did you mean 'port'"):
        load_config(config)

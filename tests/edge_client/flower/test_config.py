"""A device with a Flower app, and with or without data of its own."""

from pathlib import Path

import pytest

from edge_client.config import Flower, load_config
from edge_client.inspection import _check_flower
from fedloom.errors import ConfigError

BROKER = '[broker]\nhost = "hub"\n'
APP = '[flower]\napp = "package.client:app"\n'


@pytest.fixture
def load(tmp_path):
    def load(text: str):
        (tmp_path / "edge.toml").write_text(BROKER + text)
        return load_config(tmp_path / "edge.toml")

    return load


def test_an_app_may_stand_alone(load, tmp_path):
    config = load(APP + 'directory = "app"\nnode_config = { partition-id = 3, name = "x", fast = true }\n')
    assert config.data is None
    assert config.flower.directory == str(tmp_path / "app")
    assert config.flower.node_config == {"partition-id": 3, "name": "x", "fast": True}


def test_a_device_without_data_and_app_has_nothing_to_do(load):
    with pytest.raises(ConfigError, match=r"data: is not there; add \[data\], or \[flower\]"):
        load("")


@pytest.mark.parametrize("app", ["client", "a b:app", "pkg.client:", "pkg;x:app", "../x:app"])
def test_an_app_is_named_as_in_python(load, app):
    with pytest.raises(ConfigError, match=r"flower\.app"):
        load(f'[flower]\napp = "{app}"\n')


def test_unknown_keys_are_told(load):
    with pytest.raises(ConfigError, match="did you mean 'directory'"):
        load(APP + 'directry = "x"\n')


def test_the_check_says_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setattr("edge_client.inspection.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="flwr is not installed"):
        _check_flower(Flower("a:b", str(tmp_path)))
    monkeypatch.setattr("edge_client.inspection.find_spec", lambda name: object())
    assert str(tmp_path) in _check_flower(Flower("a:b", str(tmp_path)))
    with pytest.raises(ConfigError, match="is no directory"):
        _check_flower(Flower("a:b", str(Path(tmp_path) / "gone")))

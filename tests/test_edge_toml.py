"""The configuration that a new device starts with: one that loads, with what the broker asks for."""

import pytest

from edge_client.config import load_config
from fedloom.edge_toml import edge_toml
from fedloom.trust.tokens import Broker, TlsMode


@pytest.mark.parametrize(
    ("mode", "tls"),
    [
        (TlsMode.NONE, None),
        (TlsMode.SYSTEM, ("", "tls.crt", "tls.key", True)),
        (TlsMode.FEDERATION, ("ca.crt", "tls.crt", "tls.key", False)),
    ],
)
def test_it_names_the_files_that_a_join_writes(tmp_path, mode, tls):
    path = tmp_path / "edge.toml"
    path.write_text(edge_toml("pump", Broker("hub.example", 8883, mode), 'data "x".csv'), encoding="utf-8")
    config = load_config(path)
    assert (config.broker.host, config.broker.port) == ("hub.example", 8883)
    assert config.data.path == str(tmp_path / 'data "x".csv')
    found = config.broker.tls
    if tls is None:
        assert found is None
    else:
        assert found is not None
        paths = tuple(str(tmp_path / "keys" / name) if name else "" for name in tls[:3])
        assert (found.ca, found.cert, found.key, found.check_dates) == (*paths, tls[3])

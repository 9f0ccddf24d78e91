"""The configuration that a new device starts with; deploy/edge.toml explains every key."""

import json

from fedloom.trust.tokens import Broker, TlsMode

_TEXT = """\
# Device {name}. Every key is explained in deploy/edge.toml.
state = "state"
keys = "keys"

[broker]
host = {host}
port = {port}
{tls}
[data]
path = {data}
"""
_TLS = {
    TlsMode.NONE: "",
    TlsMode.SYSTEM: """
[broker.tls]
cert = "keys/tls.crt"
key = "keys/tls.key"
""",
    TlsMode.FEDERATION: """
[broker.tls]
ca = "keys/ca.crt"
cert = "keys/tls.crt"
key = "keys/tls.key"
check_dates = false   # the authority is the federation's own, and this device's clock may be wrong
""",
}


def edge_toml(name: str, broker: Broker, data: str) -> str:
    """The text of `edge.toml` for a device whose keys lie beside it in `keys/`; `data` is the path of its data."""
    host, path = (json.dumps(text, ensure_ascii=False) for text in (broker.host, data))  # strings of TOML too
    return _TEXT.format(name=name, host=host, port=broker.port, tls=_TLS[broker.tls], data=path)

"""Makes devices by files: keys, root document, credential and a configuration that is ready to run."""

import json
import os
import re
import shutil
import time
from pathlib import Path

from aggregator.keys import load as load_keys
from aggregator.records import DeviceRecord
from aggregator.store import open_store
from fedloom.errors import ConfigError, TrustError
from fedloom.files import create_durably
from fedloom.trust.device_keys import write_device_keys
from fedloom.trust.documents import Credential, sign_credential
from fedloom.trust.seal import SealKey
from fedloom.trust.signing import SigningKey

DEFAULT_DAYS = 30
_DAY_S = 86_400
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")

_EDGE_TOML = """\
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
_TLS = """
[broker.tls]
# ca = "ca.crt"   # who may sign the broker's certificate; without it, the system's authorities
"""


def new_device(
    state: Path,
    name: str,
    out: Path,
    *,
    broker: tuple[str, int],
    data: str = "data.csv",
    tls: bool = False,
    days: int = DEFAULT_DAYS,
    device_id: bytes | None = None,
) -> DeviceRecord:
    """Put a device's keys into `out`/keys and its configuration into `out`/edge.toml, and remember it.

    `state` is the aggregator's state directory, `broker` the host and port that the device connects to, `data` the
    path of its data. A `device_id` (16 bytes) that is not random is for local fleets: ids seed the devices' generators
    and order the fusion, so that with the same ids a run can be repeated bit for bit.

    Raises:
        ConfigError: the name cannot be used or is taken.
        TrustError: `out` has keys or a configuration already; they are never overwritten.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError("device", "NAME", f"{name!r} is not a name", "use up to 64 letters, digits, '.', '_' and '-'")
    keys = load_keys(state)
    with open_store(state) as store:
        if any(device.name == name for device in store.devices()):
            raise ConfigError("device", "NAME", f"{name!r} is taken", "choose another name")
        for part in (out / "keys", out / "edge.toml"):
            if part.exists():
                raise TrustError(f"{part}: is there already; choose an empty directory")
        signing, seal = SigningKey.generate(), SealKey.generate(keys.root.suite)
        not_after = int(time.time()) + days * _DAY_S
        credential = Credential(
            keys.root.federation, device_id or os.urandom(16), name, signing.public, seal.public, not_after
        )
        record = DeviceRecord(credential.device, name, sign_credential(credential, keys.registrar), revoked=False)
        host, port = json.dumps(broker[0]), broker[1]
        text = _EDGE_TOML.format(name=name, host=host, port=port, tls=_TLS if tls else "", data=json.dumps(data))
        out.mkdir(parents=True, exist_ok=True)
        try:
            write_device_keys(out / "keys", signing, seal, keys.root_document, record.credential)
            create_durably(out / "edge.toml", text.encode())
            store.add_device(record)
        except BaseException:  # a device that the store does not know must not look like one
            shutil.rmtree(out / "keys", ignore_errors=True)
            (out / "edge.toml").unlink(missing_ok=True)
            raise
    return record

"""Makes devices by files: keys, root document, credential and a configuration that is ready to run."""

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aggregator.config import CREDENTIAL_DAYS
from aggregator.enrolment.issuing import PublicKeys, issue
from aggregator.enrolment.naming import check_name
from aggregator.keys import load as load_keys
from aggregator.records import DeviceRecord
from aggregator.store import Store, open_store
from fedloom.edge_toml import edge_toml
from fedloom.errors import ConfigError, TrustError
from fedloom.files import create_durably
from fedloom.trust.certificates import public_key_of
from fedloom.trust.device_keys import DeviceSecrets, document_files, write_device_keys
from fedloom.trust.tokens import Broker


def new_device(
    state: Path,
    name: str,
    out: Path,
    *,
    broker: Broker,
    data: str = "data.csv",
    days: int = CREDENTIAL_DAYS,
    device_id: bytes | None = None,
) -> DeviceRecord:
    """Put a device's keys into `out`/keys and its configuration into `out`/edge.toml, and remember it.

    `state` is the aggregator's state directory, `broker` what the device connects to, `data` the
    path of its data. A `device_id` (16 bytes) that is not random is for local fleets: ids seed the devices' generators
    and order the fusion, so that with the same ids a run can be repeated bit for bit.

    Raises:
        ConfigError: the name cannot be used or is taken.
        TrustError: `out` has keys or a configuration already; they are never overwritten.
    """
    check_name(name, "NAME")
    keys = load_keys(state)
    with open_store(state) as store:
        _check_free(store, name, out)
        secrets = DeviceSecrets.generate(keys.root.suite)
        public = PublicKeys(secrets.signing.public, secrets.seal.public, public_key_of(secrets.tls))
        device = device_id or os.urandom(16)
        issued = issue(keys, device, name, public, time.time(), days)
        record = DeviceRecord(device, name, issued.credential, revoked=False, tls_key=public.tls)
        documents = document_files(keys.root, keys.documents[-1], issued.credential, issued.certificate)
        with _all_or_nothing(out):
            write_device_keys(out / "keys", secrets, documents)
            create_durably(out / "edge.toml", edge_toml(name, broker, data).encode())
            store.add_device(record, issued.certificate)
    return record


def _check_free(store: Store, name: str, out: Path) -> None:
    if any(device.name == name for device in store.devices()):
        raise ConfigError("device", "NAME", f"{name!r} is taken", "choose another name")
    for part in (out / "keys", out / "edge.toml"):
        if part.exists():
            raise TrustError(f"{part}: is there already; choose an empty directory")


@contextmanager
def _all_or_nothing(out: Path) -> Iterator[None]:
    """A device that the store does not know must not look like one."""
    out.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(out / "keys", ignore_errors=True)
        (out / "edge.toml").unlink(missing_ok=True)
        raise

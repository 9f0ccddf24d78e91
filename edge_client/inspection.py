"""What `fedloom-edge check` and `fedloom-edge status` have to say."""

from pathlib import Path

import msgspec

from edge_client.config import EdgeConfig
from edge_client.outbox import StateDirectory
from fedloom.errors import DataError
from fedloom.job import load_job
from fedloom.link.config import read_password, tls_context
from fedloom.trust.device_keys import load_device_keys


class Status(msgspec.Struct, frozen=True):
    """A device, as its state directory shows it."""

    running: bool
    device: str
    incarnation: int
    manifest_version: int
    manifest: str
    """SHA-256 of the last manifest that was accepted, in hex; empty if there is none."""
    waiting_updates: int
    waiting_bytes: int
    model: str
    """The last job's final model; empty if there is none."""


def check(config: EdgeConfig, job_file: Path | None) -> list[str]:
    """Look at all that `run` will need; returns what was found, a line each.

    Raises:
        ConfigError, TrustError, DataError: it cannot be used.
    """
    keys = load_device_keys(Path(config.keys))
    read_password(config.broker)
    if config.broker.tls:
        tls_context(config.broker.tls)
    lines = [
        f"keys: device {keys.id.hex()} ({keys.credential.name}) of federation {keys.root.federation.hex()}",
        f"broker: {config.broker.host}:{config.broker.port}, {'TLS' if config.broker.tls else 'no TLS'}",
    ]
    return [*lines, *(_check_data(config, job_file) if job_file else _check_file(config))]


def _check_file(config: EdgeConfig) -> list[str]:
    path = Path(config.data.path)
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise DataError(str(path), "", f"cannot be read ({error.strerror})", "check data.path and its owner") from None
    return [f"data: {path}, {size} bytes; give --job to read it as a job would"]


def _check_data(config: EdgeConfig, job_file: Path) -> list[str]:
    from edge_client.data.prepare import check_width, prepare

    job = load_job(job_file)
    prepared = prepare(config.data, job.data, job.training.loss, job.seed)
    check_width(config.data, prepared, job.model.inputs)
    counts = f"{prepared.train.samples} samples to train on, {prepared.holdout.samples} held out"
    return [f"data: {config.data.path}, {counts}, {job.model.inputs} features", f"job: {job.name} can use it"]


def status(config: EdgeConfig) -> Status:
    """Read the state directory; a daemon may be running.

    Raises:
        StoreError: it is damaged.
    """
    directory = StateDirectory(Path(config.state))
    contents = directory.read()
    state = contents.state
    return Status(
        running=directory.is_held(),
        device=state.device.hex() if state else "",
        incarnation=state.incarnation if state else 0,
        manifest_version=state.manifest_version if state else 0,
        manifest=state.manifest_hash.hex() if state and state.manifest_version else "",
        waiting_updates=len(contents.entries),
        waiting_bytes=sum(len(entry.blob) for entry in contents.entries),
        model=str(directory.model) if directory.model.exists() else "",
    )

"""What `fedloom-edge check` and `fedloom-edge status` have to say."""

import time
from importlib.util import find_spec
from pathlib import Path

import msgspec

from edge_client.config import EdgeConfig, Flower
from edge_client.outbox import StateDirectory
from edge_client.repair import model_problem
from edge_client.state import DeviceState
from fedloom.data.config import SourceConfig
from fedloom.errors import ConfigError, DataError
from fedloom.job import load_job
from fedloom.link.config import read_password, tls_context
from fedloom.trust.device_keys import is_there, load_credential, load_device_keys, load_root
from fedloom.trust.documents import Credential


class Status(msgspec.Struct, frozen=True):
    """A device, as its state directory shows it."""

    running: bool
    membership: str
    """joined, pending (a join was begun), expired (by the aggregator's word, not by this device's clock) or none."""
    device: str
    valid_until: str
    """When the credential ends (UTC), by the registrar's clock; empty if there is none."""
    root_version: int
    """Of the root document beside the keys."""
    time_floor: str
    """The latest time (UTC) that the aggregator has signed; empty if there is none."""
    silent_since: str
    """When (UTC, by this device's clock) the aggregator has last said something new; empty unless it owes us a word."""
    sleeping_until: str
    """When (UTC, by this device's clock) it comes back by itself; empty unless it sleeps between rounds now."""
    incarnation: int
    manifest_version: int
    manifest: str
    """SHA-256 of the last manifest that was accepted, in hex; empty if there is none."""
    waiting_updates: int
    waiting_bytes: int
    model: str
    """The last job's final model; empty if there is none."""
    model_problem: str
    """Why it cannot be used; it comes again with the end of the next job. Empty if it can."""
    personal: str
    """What the device has made of that model for itself; empty if that job has left it nothing of its own."""
    personal_problem: str
    """Why it cannot be used; the federation's can."""


def check(config: EdgeConfig, job_file: Path | None) -> list[str]:
    """Look at all that `run` will need; returns what was found, a line each.

    Raises:
        ConfigError, TrustError, DataError: it cannot be used.
    """
    keys = load_device_keys(Path(config.keys))
    state = StateDirectory(Path(config.state)).read().state
    read_password(config.broker)
    if config.broker.tls:
        tls_context(config.broker.tls)
    lines = [
        f"keys: device {keys.id.hex()} ({keys.credential.name}) of federation {keys.root.federation.hex()}",
        f"credential: until {_utc(keys.credential.not_after)}, renewed before while the device takes part",
        _root_line(keys.root.version, state),
        f"broker: {config.broker.host}:{config.broker.port}, {'TLS' if config.broker.tls else 'no TLS'}",
    ]
    if config.flower:
        lines.append(_check_flower(config.flower))
    if config.data is None:
        return [*lines, "data: none, so only exchanges are answered"]
    return [*lines, *(_check_data(config.data, job_file) if job_file else _check_file(config.data))]


def _check_flower(flower: Flower) -> str:
    if find_spec("flwr") is None:
        raise ConfigError("the configuration", "flower", "flwr is not installed", "run: pip install 'fedloom[flower]'")
    if not Path(flower.directory).is_dir():
        raise ConfigError(
            "the configuration", "flower.directory", f"{flower.directory} is no directory", "name the app's"
        )
    return f"flower: {flower.app} in {flower.directory}; that it can be imported shows when it is asked"


def _root_line(version: int, state: DeviceState | None) -> str:
    if state and version < state.root_version:
        return f"root: version {version}, an old copy of {state.root_version}; the next run fetches what is missing"
    return f"root: version {version}"


def _check_file(source: SourceConfig) -> list[str]:
    path = Path(source.path)
    try:
        with path.open("rb"):
            size = path.stat().st_size
    except OSError as error:
        raise DataError(str(path), "", f"cannot be read ({error.strerror})", "check data.path and its owner") from None
    return [f"data: {path}, {size} bytes; give --job to read it as a job would"]


def _check_data(source: SourceConfig, job_file: Path) -> list[str]:
    from fedloom.data.prepare import check_width, prepare

    job = load_job(job_file)
    prepared = prepare(source, job.data, job.training.loss, job.seed)
    check_width(source, prepared, job.model.inputs)
    counts = f"{prepared.train.samples} samples to train on, {prepared.holdout.samples} held out"
    return [f"data: {source.path}, {counts}, {job.model.inputs} features", f"job: {job.name} can use it"]


def status(config: EdgeConfig) -> Status:
    """Read the state directory and the documents beside the keys; a daemon may be running.

    Raises:
        StoreError: the state is damaged.
        TrustError: a document is damaged, or open to others.
    """
    directory, keys = StateDirectory(Path(config.state)), Path(config.keys)
    contents = directory.read()
    state = contents.state
    credential = load_credential(keys) if is_there(keys / "credential") else None
    root_version = load_root(keys).version if is_there(keys / "root") else 0
    floor = state.time_floor if state else 0
    since, until = directory.silent.read(), directory.sleeping.read()
    is_running = directory.is_held()
    device = credential.device if credential else state.device if state else b""
    return Status(
        running=is_running,
        membership=_membership(credential, root_version, floor),
        device=device.hex(),
        valid_until=_utc(credential.not_after) if credential else "",
        root_version=root_version,
        time_floor=_utc(floor) if floor else "",
        silent_since=_utc(since) if since is not None else "",
        sleeping_until=_utc(until) if until is not None and is_running else "",
        incarnation=state.incarnation if state else 0,
        manifest_version=state.manifest_version if state else 0,
        manifest=state.manifest_hash.hex() if state and any(state.manifest_hash) else "",
        waiting_updates=len(contents.entries),
        waiting_bytes=sum(len(entry.blob) for entry in contents.entries),
        model=str(directory.model) if directory.model.exists() else "",
        model_problem=model_problem(directory.model),
        personal=str(directory.personal) if directory.personal.exists() else "",
        personal_problem=model_problem(directory.personal),
    )


def _membership(credential: Credential | None, root_version: int, time_floor: int) -> str:
    if credential is None:
        return "pending" if root_version else "none"
    return "expired" if time_floor > credential.not_after else "joined"


def _utc(seconds: int) -> str:
    """A time as people read it; far-off ones, which no calendar has, as the number."""
    try:
        return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
    except (OverflowError, OSError, ValueError):
        return str(seconds)

"""Puts an aggregator together from its configuration and its state directory."""

import os
from typing import NamedTuple

import msgspec

from aggregator import history, keys
from aggregator.admission import largest_update_bytes
from aggregator.archive import Archive
from aggregator.config import Loaded
from aggregator.coordinator import Coordinator
from aggregator.core import Core
from aggregator.enrolment.decisions import Enrolments
from aggregator.enrolment.registrar import Registrar
from aggregator.enrolment.renewal import Renewal
from aggregator.enrolment.writer import MembershipWriter
from aggregator.fleet import Fleet
from aggregator.initial import initial_model
from aggregator.keys import AggregatorKeys
from aggregator.link_gate import LinkGate
from aggregator.opening import check_manifest
from aggregator.progress import Setup
from aggregator.records import Snapshot
from aggregator.registry import Registry
from aggregator.rival import RivalWatch
from aggregator.spool import Spool
from aggregator.store import Store, open_store
from fedloom.errors import ConfigError
from fedloom.job import Job, load_job
from strategies import create


class Parts(NamedTuple):
    """A run that is ready to be served."""

    core: Core
    archive: Archive
    gate: LinkGate
    client_id: str
    fleet: Fleet


def assemble(loaded: Loaded) -> Parts:
    """Load keys, job and state, and carry on where the run before has stopped.

    Raises:
        InputError: the job file is wrong, or asks for more than the configuration allows.
        TrustError: the keys are missing or wrong.
        StoreError: the state is damaged.
    """
    job = load_job(loaded.job)
    strategy = create(job.strategy, str(loaded.job))
    check_manifest(job, str(loaded.job))
    _check_update_size(job, loaded)
    initial = initial_model(job, loaded.job)
    own = keys.load(loaded.state)
    store = open_store(loaded.state)
    registry = Registry(loaded.state / "models", job, history.models_of(store, job.name))
    snapshot = _snapshot(store, registry, job)
    setup = Setup(
        job=job,
        root=own.root,
        documents=own.documents,
        aggregator=own.id,
        signing=own.signing,
        strategy=strategy,
        initial=initial,
        entropy=os.urandom,
        max_update_bytes=loaded.config.limits.max_update_bytes,
        max_transfer_bytes=loaded.config.limits.max_transfer_bytes,
        model_path=lambda version: str(registry.path(version)),
    )
    fleet = Fleet(own.root, store.devices())
    enrolments = Enrolments(store, own, loaded.config.devices.credential_days, os.urandom)
    spool, retention = Spool(loaded.state / "spool"), loaded.config.retention
    archive = Archive(store, enrolments, spool, registry, job, strategy, retention)
    archive.resume(snapshot.newest)
    coordinator = Coordinator(setup, fleet, snapshot)
    gate = LinkGate(RivalWatch(own.root, lambda: coordinator.newest_manifest))
    core = _core(coordinator, own, fleet, loaded, enrolments.tokens())
    return Parts(core, archive, gate, own.id.hex(), fleet)


def _core(
    coordinator: Coordinator, own: AggregatorKeys, fleet: Fleet, loaded: Loaded, tokens: frozenset[bytes]
) -> Core:
    writer = MembershipWriter(own, loaded.config.devices_broker(), os.urandom)
    return Core(coordinator, Registrar(own, fleet, writer, tokens), Renewal(fleet, writer))


def _check_update_size(job: Job, loaded: Loaded) -> None:
    """Refuse a job whose updates would all be dropped."""
    needed, allowed = largest_update_bytes(job), loaded.config.limits.max_update_bytes
    if needed > allowed:
        problem = f"an update takes up to {needed:,} bytes, limits.max_update_bytes of the aggregator is {allowed:,}"
        raise ConfigError(str(loaded.job), "model", problem, f"raise that to {needed}, or make the model smaller")


def _snapshot(store: Store, registry: Registry, job: Job) -> Snapshot:
    """Of the newest run if that is of the same job file, word for word; else of a new one."""
    definition = msgspec.json.encode(job)
    newest = history.newest_job(store)
    if newest is None or newest[2] != definition:
        run = os.urandom(16)
        store.begin_job(run, job.name, definition)
    else:
        run = newest[0]
    snapshot = history.snapshot(store, run)
    versions = [entry.version for entry in history.models_of(store, job.name)]
    if versions and versions[-1] >= snapshot.first_version:
        return snapshot._replace(model=registry.load(versions[-1]))
    return snapshot

"""Puts an aggregator together from its configuration and its state directory."""

import os
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from aggregator import history, keys, past_rounds
from aggregator.admission import largest_update_bytes
from aggregator.archive import Archive
from aggregator.cohorts import registry as cohorts
from aggregator.config import Loaded
from aggregator.coordinator import Coordinator
from aggregator.core import Core
from aggregator.enrolment.decisions import Enrolments
from aggregator.enrolment.registrar import Registrar
from aggregator.enrolment.renewal import Renewal
from aggregator.enrolment.writer import MembershipWriter
from aggregator.exchange.journal import Journal
from aggregator.fleet import Fleet
from aggregator.incoming import Incoming
from aggregator.initial import initial_model
from aggregator.keys import AggregatorKeys
from aggregator.labels import Wanted
from aggregator.link_gate import LinkGate
from aggregator.opening import check_manifest
from aggregator.past_rounds import Run
from aggregator.progress import Setup
from aggregator.recompute import Files
from aggregator.records import CurrentModel, Snapshot
from aggregator.registry import Registry
from aggregator.repair import Repair
from aggregator.rival import RivalWatch
from aggregator.root_set import load as load_root_set
from aggregator.spool import Spool
from aggregator.states import States
from aggregator.store import Store, open_store
from fedloom.errors import ConfigError, StoreError
from fedloom.job import Job, load_job
from fedloom.learning.plan import TrainPlan
from strategies import Strategy, create_for, first_plan


class Parts(NamedTuple):
    """A run that is ready to be served."""

    core: Core
    archive: Archive
    gate: LinkGate
    client_id: str
    fleet: Fleet
    run: bytes
    """The run's id."""


def assemble(loaded: Loaded) -> Parts:
    """Load keys, job and state, and carry on where the run before has stopped.

    Raises:
        InputError: the job file is wrong, or asks for more than the configuration allows.
        TrustError: the keys are missing or wrong.
        StoreError: the state is damaged.
    """
    job = load_job(loaded.job)
    strategy = create_for(job, str(loaded.job))
    plan = first_plan(strategy, job)
    check_manifest(job, plan, str(loaded.job))
    _check_update_size(job, plan, loaded)
    return assemble_for(job, strategy, initial_model(job, loaded.job), loaded)


def assemble_for(
    job: Job,
    strategy: Strategy,
    initial: CurrentModel,
    loaded: Loaded,
    conductor: type[Coordinator] = Coordinator,
    *,
    is_new: Callable[[Store], bool] = lambda _: False,
    journal: Journal | None = None,
) -> Parts:
    """The same for a job that starts from `initial`; `is_new` says that no run before it is carried on.

    An app's run has a `journal`.

    Raises:
        InputError: the job's rule for cohorts, or its root set, is wrong.
        TrustError, StoreError: see `assemble`.
    """
    rule, plan = cohorts.create(job, str(loaded.job)), first_plan(strategy, job)
    root_set = load_root_set(loaded.config.root_set, job, str(loaded.job))
    own = keys.load(loaded.state)
    store = open_store(loaded.state, leads=True)
    files, run = _open_files(store, loaded, job), _run(store, job, is_new(store))
    snapshot = _snapshot(store, run, Repair(run, files, strategy, lambda: initial, root_set))
    if plan.correction != "none":
        snapshot = snapshot._replace(counted=history.counted(store, run.id))
    setup = Setup(
        job=job,
        root=own.root,
        documents=own.documents,
        aggregator=own.id,
        signing=own.signing,
        strategy=strategy,
        rule=rule,
        initial=initial,
        entropy=os.urandom,
        max_update_bytes=loaded.config.limits.max_update_bytes,
        max_transfer_bytes=loaded.config.limits.max_transfer_bytes,
        check_ins_per_s=loaded.config.pace.check_ins_per_s,
        incoming=Incoming(loaded.state / "incoming"),
        model_path=lambda version: str(files.registry.path(version)),
        request=journal.open(run.id, _open_round(snapshot)) if journal else b"",
    )
    fleet = Fleet(own.root, store.devices(), Wanted(job.cohort.require, job.cohort.exclude))
    enrolments = Enrolments(store, own, loaded.config.devices.credential_days, os.urandom)
    archive = Archive(files, enrolments, job, strategy, loaded.config.retention, root_set, journal)
    archive.resume(snapshot.newest)
    coordinator = conductor(setup, fleet, snapshot)
    gate = LinkGate(RivalWatch(own.root, lambda: coordinator.newest_manifest, store.leap()))
    core = _core(coordinator, own, fleet, loaded, enrolments.tokens())
    return Parts(core, archive, gate, own.id.hex(), fleet, run.id)


def _open_files(store: Store, loaded: Loaded, job: Job) -> Files:
    """Raises StoreError: the disk does not take the directories."""
    try:
        registry = Registry(loaded.state / "models", job, history.models_of(store, job.name))
        return Files(store, registry, States(loaded.state / "models" / job.name), Spool(loaded.state / "spool"))
    except OSError as error:
        raise StoreError(f"{loaded.state}: cannot be used ({error.strerror}); free or repair the disk") from error


def _core(
    coordinator: Coordinator, own: AggregatorKeys, fleet: Fleet, loaded: Loaded, tokens: frozenset[bytes]
) -> Core:
    writer = MembershipWriter(own, loaded.config.devices_broker(), os.urandom)
    return Core(coordinator, Registrar(own, fleet, writer, tokens), Renewal(fleet, writer))


def _check_update_size(job: Job, plan: TrainPlan, loaded: Loaded) -> None:
    """Refuse a job whose updates would all be dropped."""
    needed, allowed = largest_update_bytes(job, plan), loaded.config.limits.max_update_bytes
    if needed > allowed:
        problem = f"an update takes up to {needed:,} bytes, limits.max_update_bytes of the aggregator is {allowed:,}"
        raise ConfigError(str(loaded.job), "model", problem, f"raise that to {needed}, or make the model smaller")


def _open_round(snapshot: Snapshot) -> int | None:
    return snapshot.newest.round if snapshot.newest and snapshot.outcome is None else None


def _run(store: Store, job: Job, is_new: bool) -> Run:
    """The newest run if that is of the same job; else a new one."""
    newest = history.newest_job(store)
    if is_new or newest is None or not _is_same(newest[2], job):
        identity = os.urandom(16)
        return Run(identity, job, store.begin_job(identity, job.name, msgspec.json.encode(job)))
    return past_rounds.find_run(store, newest[0].hex())


def _is_same(definition: bytes, job: Job) -> bool:
    """A job that older software has begun goes on with the defaults of keys that are new since."""
    try:
        return msgspec.json.decode(definition, type=Job) == job
    except msgspec.MsgspecError:
        return False


def _snapshot(store: Store, run: Run, repair: Repair) -> Snapshot:
    """Where the run stands, with its newest model and the strategy's state."""
    snapshot = history.snapshot(store, run.id, run.job.stopping)._replace(
        strategy_state=repair.state(history.newest_state(store, run.id))
    )
    newest = history.newest_model(store, run.job.name)
    if newest is not None and newest >= run.first_version:
        return snapshot._replace(model=repair.model(newest))
    return snapshot

"""Makes what a round made once more, from the spool, the model before and the strategy's state before."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from aggregator import history, past_rounds
from aggregator.damage import DamagedError
from aggregator.events import Fuse, FusionResult
from aggregator.fusion import fuse
from aggregator.past_rounds import PastRound, Run
from aggregator.records import CurrentModel, SpoolEntry
from aggregator.registry import Registry
from aggregator.root_set import RootSet
from aggregator.spool import Spool
from aggregator.states import States
from aggregator.store import Store
from fedloom.errors import StoreError
from fedloom.wire.messages import Phase
from strategies import FusionError, Strategy


class Files(NamedTuple):
    """Where a job's state lies."""

    store: Store
    registry: Registry
    states: States
    spool: Spool


class Sources(NamedTuple):
    """What a round was made of."""

    segment: Path
    entries: tuple[SpoolEntry, ...]
    before: CurrentModel | None
    """None in the statistics round."""
    state: bytes
    size: int
    """Weights that each update has."""


class Recomputed(NamedTuple):
    """What a round gives when it is fused again."""

    model: CurrentModel | None
    result: FusionResult


def sources(past: PastRound, run: Run, files: Files) -> Sources:
    """Find them.

    Raises:
        StoreError: something is gone; says which key of [retention] would have kept it.
    """
    opened = past.opened
    if not opened.manifest:
        raise StoreError(
            f"round {opened.round}: its receipts are gone; those of more rounds are kept by retention.rounds"
        )
    segment = files.spool.segment(opened.job, opened.round, opened.attempt)
    entries = history.entries(files.store, opened.manifest_version)
    if entries and not segment.exists():
        raise StoreError(f"{segment}: is gone; updates are kept for so many rounds of the newest run: retention.rounds")
    before = None if opened.model_version is None else _model_before(opened.model_version, run, files)
    if past.state_before and not files.states.path(past.state_before).exists():
        path = files.states.path(past.state_before)
        raise StoreError(f"{path}: is gone; states are kept for so many rounds of the newest run: retention.rounds")
    return Sources(segment, entries, before, files.states.load(past.state_before), run.job.shared_layout.size)


def recompute(
    past: PastRound,
    given: Sources,
    run: Run,
    strategy: Strategy,
    initial: Callable[[], CurrentModel],
    root_set: RootSet | None,
) -> Recomputed:
    """Fuse a round again; `initial` is what the job starts from, `root_set` what the rule needs of our own.

    Raises:
        DamagedError: the spool is damaged.
        StoreError: the updates cannot be fused.
    """
    weights = given.before.weights if given.before and past.opened.phase is Phase.TRAIN else None
    order = Fuse(past.opened, weights, given.state, given.before.standardiser if given.before else None)
    try:
        result = fuse(order, run.job, strategy, given.segment, given.entries, root_set)
    except FusionError as error:
        raise StoreError(f"round {past.opened.round}: {error}") from error
    if result.weights is not None and given.before:
        return Recomputed(CurrentModel(given.before.version + 1, result.weights, given.before.standardiser), result)
    if result.standardiser is not None:
        return Recomputed(CurrentModel(run.first_version, initial().weights, result.standardiser), result)
    return Recomputed(None, result)


def _model_before(version: int, run: Run, files: Files) -> CurrentModel:
    path = files.registry.path(version)
    if not path.exists():
        raise StoreError(f"{path}: is gone, the round began with it; more models are kept by retention.models")
    known = past_rounds.made_model(files.store, run.job.name, version)
    if known is None:
        raise DamagedError(f"{files.store.path}: does not know model {version} of job {run.job.name}")
    return files.registry.load_known(version, known.hash)

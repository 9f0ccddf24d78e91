"""What a start needs and finds damaged is made again from what is sound: the newest model, and the strategy's state.

Only what has the recorded hash is taken; the damaged file is kept beside its place. Where that cannot be done, the
aggregator does not start: what it would say otherwise could contradict what devices have been told.
"""

import logging
from collections.abc import Callable
from hashlib import sha256

from aggregator import past_rounds
from aggregator.backup.last import remedy
from aggregator.damage import DamagedError, quarantine
from aggregator.past_rounds import MadeModel, PastRound, Run
from aggregator.recompute import Files, Recomputed, recompute, sources
from aggregator.records import CurrentModel, NewModel
from aggregator.root_set import RootSet
from fedloom import msgpack
from fedloom.errors import StoreError
from fedloom.wire.model_blob import model_hash
from strategies import Strategy

log = logging.getLogger(__name__)


class Repair:
    """Reads what a run goes on from."""

    def __init__(
        self,
        run: Run,
        files: Files,
        strategy: Strategy,
        initial: Callable[[], CurrentModel],
        root_set: RootSet | None,
    ) -> None:
        """`initial` is what the job starts from, `root_set` what the rule needs of the aggregator's own."""
        self._run = run
        self._files = files
        self._strategy = strategy
        self._initial = initial
        self._root_set = root_set
        self._remedy = remedy(files.store.path.parent)

    def model(self, version: int) -> CurrentModel:
        """A version of the model, made again if it has to be.

        Raises:
            StoreError: it cannot be made again.
        """
        known = past_rounds.made_model(self._files.store, self._run.job.name, version)
        if known is None:
            raise StoreError(f"{self._files.store.path}: does not know model {version}; {self._remedy}")
        registry = self._files.registry
        try:
            return registry.load_known(version, known.hash)
        except DamagedError as damage:
            model = self._made_again(known, damage)
            kept = quarantine(registry.path(version))
            registry.save(NewModel(model, known.hash, known.round, known.devices, known.samples))
            log.warning("model.recomputed version=%d damage=%r %s", version, str(damage), kept)
            return model

    def state(self, digest: bytes) -> bytes:
        """The strategy's state with this SHA-256, made again if it has to be.

        Raises:
            StoreError: it cannot be made again.
        """
        try:
            return self._files.states.load(digest)
        except DamagedError as damage:
            state = self._state_made_again(digest, damage)
            kept = quarantine(self._files.states.path(digest))
            self._files.states.save(state)
            log.warning("strategy_state.recomputed sha256=%s damage=%r %s", digest.hex(), str(damage), kept)
            return state

    def _made_again(self, known: MadeModel, damage: DamagedError) -> CurrentModel:
        past = past_rounds.round_that_made(self._files.store, self._run, known.version)
        made: CurrentModel | None = self._initial()._replace(version=known.version)
        if past is not None:
            made = self._fused_again(past, damage).model
        if made is None or model_hash(made.weights, made.standardiser) != known.hash:
            raise StoreError(f"{damage}; what is recomputed from the spool is not the same; {self._remedy}")
        return made

    def _state_made_again(self, digest: bytes, damage: DamagedError) -> bytes:
        size = self._run.job.shared_layout.size
        initial = msgpack.encode(self._strategy.initial_state(size))
        if sha256(initial).digest() == digest:  # as of strategies that remember nothing
            return initial
        past = past_rounds.round_that_left(self._files.store, self._run, digest)
        state = b"" if past is None else self._fused_again(past, damage).result.strategy_state
        if sha256(state).digest() != digest:
            raise StoreError(f"{damage}; what is recomputed from the spool is not the same; {self._remedy}")
        return state

    def _fused_again(self, past: PastRound, damage: DamagedError) -> Recomputed:
        try:
            given = sources(past, self._run, self._files)
            return recompute(past, given, self._run, self._strategy, self._initial, self._root_set)
        except StoreError as error:
            raise StoreError(f"{damage}; it cannot be recomputed either ({error}); {self._remedy}") from None

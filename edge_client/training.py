"""A round's work: from manifest, model and this device's data to the answer.

The data is read once a job and standardised in place, so that one copy of it is in memory.
"""

import logging
import math
from collections.abc import Callable
from hashlib import sha256
from typing import Literal, NamedTuple

import numpy as np

from edge_client.events import Answer, Work
from edge_client.personal import Own
from edge_client.rounds import declined
from edge_client.variate import Variate
from fedloom.data.config import SourceConfig
from fedloom.data.prepare import Prepared, check_width, prepare
from fedloom.data.table import Alive, nobody_watches
from fedloom.errors import DataError, Refused
from fedloom.learning.evaluate import evaluate, mean_loss
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Sums
from fedloom.learning.model import Model
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Moments, Standardiser
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import CODES, decode, encode
from fedloom.wire.messages import Brief, Phase, Update

log = logging.getLogger("fedloom.edge")

_Whose = Literal["everybody", "own"]


class _Loaded(NamedTuple):
    """A job's data in memory."""

    key: tuple[object, ...]
    prepared: Prepared
    standardised: bytes
    """The digest of the standardiser that was applied; empty is none."""


class Training:
    """Does the work of one device."""

    def __init__(
        self,
        source: SourceConfig,
        device: bytes,
        residual: Callable[[bytes], bytes],
        control: Callable[[bytes], bytes],
        alive: Alive = nobody_watches,
        personal: Callable[[], Model | None] = lambda: None,
    ) -> None:
        """`residual(name)` reads a stored error-feedback residual, `control(name)` a control variate, empty where it is
        lost; `alive` feeds a watchdog outside of training; `personal` reads this device's own model.
        """
        self._source = source
        self._device = device
        self._residual = residual
        self._control = control
        self._alive = alive
        self._personal = personal
        self._loaded: _Loaded | None = None
        self._trainers: dict[_Whose, Trainer] = {}

    def run(self, work: Work, should_stop: Callable[[], bool]) -> Answer | None:
        """The answer to send, be it why this device declines; None if `should_stop` ended it."""
        try:
            return self._run(work, should_stop)
        except DataError as error:
            log.warning("data.refused reason=%r", str(error))
            return declined(error.shareable)
        except _Unable as error:
            return declined(str(error))
        except Refused as refused:
            return declined(f"the update cannot be encoded: {refused}")
        except (ValueError, IndexError, MemoryError) as error:
            return declined(f"model and data do not fit: {type(error).__name__}: {error}")

    def _run(self, work: Work, should_stop: Callable[[], bool]) -> Answer | None:
        manifest = work.manifest
        if manifest.phase is Phase.DONE:
            return self._finish(work, should_stop)
        prepared = self._data(work)
        self._alive()
        check_width(self._source, prepared, work.brief.spec.inputs)
        if manifest.phase is Phase.STATISTICS:
            moments = Moments.of(prepared.train.x)
            vector = moments.to_vector().astype("<f8").tobytes()
            return Answer(Update(moments.samples, 0, 0.0, vector, b"", ""))
        if should_stop():
            return None
        own = self._own(work)
        if not work.task.train:
            return self._evaluate(work, prepared, own, should_stop)
        metrics = _metrics(work, prepared, own) if work.task.evaluate else b""
        self._alive()
        if own.trains_beside and not self._train_own(work, own, prepared, should_stop):
            return None
        return self._train(work, prepared, own, metrics, should_stop)

    def _evaluate(self, work: Work, prepared: Prepared, own: Own, should_stop: Callable[[], bool]) -> Answer | None:
        if not prepared.holdout.samples:
            raise _Unable("there are no hold-out samples to evaluate on")
        is_tuned = own.needs_tuning
        if is_tuned and not self._train_own(work, own, prepared, should_stop):
            return None
        metrics = _metrics(work, prepared, own)
        self._alive()
        return Answer(Update(0, 0, 0.0, b"", metrics, ""), personal=own.content(own.weights) if is_tuned else None)

    def _finish(self, work: Work, should_stop: Callable[[], bool]) -> Answer | None:
        """The job is over: this device's own final model."""
        own = self._own(work)
        if own.needs_tuning and not self._train_own(work, own, self._data(work), should_stop):
            return None
        return Answer(Update(0, 0, 0.0, b"", b"", ""), personal=own.content(own.weights))

    def _own(self, work: Work) -> Own:
        return Own(work, self._personal() if work.brief.personal else None)

    def _train_own(self, work: Work, own: Own, prepared: Prepared, should_stop: Callable[[], bool]) -> bool:
        """False: `should_stop` has ended it."""
        assert work.brief.personal is not None  # noqa: S101 - for the type checker: callers have looked
        trainer = self._trainer_for(work.brief, work.brief.personal.plan(work.brief.plan), "own")
        fit = trainer.fit(own.weights, prepared.train, self._rng(work, "own"), should_stop, anchor=own.common)
        if fit.stopped == "asked":
            return False
        own.take(fit)
        return True

    def _train(
        self, work: Work, prepared: Prepared, own: Own, metrics: bytes, should_stop: Callable[[], bool]
    ) -> Answer | None:
        brief, model = work.brief, work.model
        assert model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics rounds
        loss = _mean_loss(work, prepared, own.start) if brief.plan.measure_loss else None
        self._alive()
        variate = Variate(brief.plan, self._own_control(work), model.control, model.weights.size)
        trainer = self._trainer_for(brief, brief.plan, "everybody")
        fit = trainer.fit(own.start, prepared.train, self._rng(work), should_stop, variate.term)
        if fit.stopped == "asked":
            return None
        if fit.stopped == "diverged":
            reason = f"training diverged after {fit.steps} steps: weights or loss are not finite"
            return declined(reason)._replace(personal=own.after(own.common))
        personal = own.after(fit.weights)
        delta: Vector = fit.weights[: own.shared]
        delta -= model.weights[: own.shared]
        change = variate.change(delta, fit.rate_sum)
        control = b"" if change is None else self._encoded(work, change, b"fedloom/1/control")
        vector, residual = self._encode(work, delta)
        update = Update(fit.samples, fit.steps, fit.loss_sum, vector, metrics, "", loss, control)
        return Answer(update, CODES[brief.encoding], residual, variate.advanced(update, brief.encoding), personal)

    def _own_control(self, work: Work) -> Vector | None:
        """This device's variate; None where it is zero."""
        if work.task.counted not in (b"", work.control):
            log.warning("control.lost counted=%s", work.task.counted.hex()[:8])
        kept = self._control(work.control) if work.control else b""
        return np.frombuffer(kept, "<f4") if kept else None

    def _encode(self, work: Work, delta: Vector) -> tuple[bytes, bytes | None]:
        """The update's bytes, and what they have lost: that is added to the next update (error feedback)."""
        encoding = work.brief.encoding
        if encoding == "float32" or not work.brief.error_feedback:
            return self._encoded(work, delta, b"fedloom/1/encoding"), None
        if work.residual and (kept := self._residual(work.residual)):
            delta += np.frombuffer(kept, "<f4")
        vector = self._encoded(work, delta, b"fedloom/1/encoding")
        sent = np.empty_like(delta)
        decode(vector, encoding, sent)
        delta -= sent
        return vector, delta.astype("<f4", copy=False).tobytes()

    def _encoded(self, work: Work, vector: Vector, purpose: bytes) -> bytes:
        brief = work.brief
        return encode(vector, brief.encoding, brief.options, self._seed(work, purpose))

    def _trainer_for(self, brief: Brief, plan: TrainPlan, whose: _Whose) -> Trainer:
        trainer = self._trainers.pop(whose, None)
        if trainer is None or (trainer.spec, trainer.plan) != (brief.spec, plan):
            trainer = None  # its buffers go before the new ones come
            trainer = Trainer(brief.spec, plan)
        self._trainers[whose] = trainer
        return trainer

    def _rng(self, work: Work, whose: _Whose = "everybody") -> np.random.Generator:
        return np.random.default_rng(self._seed(work, b"fedloom/1/rng" if whose == "everybody" else b"fedloom/1/own"))

    def _seed(self, work: Work, purpose: bytes) -> int:
        """The same for each attempt of a round, so that a run can be repeated."""
        seed = f"{work.brief.seed}/{self._device.hex()}/{work.manifest.round}".encode()
        return int.from_bytes(sha256(purpose + seed).digest(), "big")

    def _data(self, work: Work) -> Prepared:
        """The job's data, standardised as the model wants it."""
        brief = work.brief
        standardiser = work.model.standardiser if work.model else None
        wanted = (
            b""
            if standardiser is None
            else sha256(standardiser.shift.tobytes() + standardiser.scale.tobytes()).digest()
        )
        key = (work.manifest.job, brief.data, brief.plan.loss, brief.seed)
        loaded = self._loaded
        if loaded is None or loaded.key != key or loaded.standardised not in (b"", wanted):
            self._loaded = None  # the old data goes before the new comes
            prepared = prepare(self._source, brief.data, brief.plan.loss, brief.seed, self._alive)
            loaded = _Loaded(key, prepared, b"")
        if standardiser is not None and loaded.standardised != wanted:
            check_width(self._source, loaded.prepared, brief.spec.inputs)
            self._loaded = None  # half standardised, should anything fail
            for part in loaded.prepared:
                _standardise(part.x, standardiser)
            loaded = loaded._replace(standardised=wanted)
        self._loaded = loaded
        return loaded.prepared


class _Unable(Exception):
    """This device cannot take part in this round; the text says why."""


def _standardise(x: Vector, standardiser: Standardiser) -> None:
    """`Standardiser.apply`, in place."""
    np.subtract(x, standardiser.shift, out=x)
    np.divide(x, standardiser.scale, out=x)


def _mean_loss(work: Work, prepared: Prepared, start: Vector) -> float:
    """Of the manifest's model, with this device's head where it has one, over the samples that it trains on."""
    brief = work.brief
    with np.errstate(over="ignore", invalid="ignore"):
        loss = mean_loss(brief.spec, brief.plan.loss, start, prepared.train, brief.plan.huber_delta)
    if not math.isfinite(loss):
        raise _Unable("the global model's loss on this device's training samples is not finite")
    return loss


def _metrics(work: Work, prepared: Prepared, own: Own) -> bytes:
    """Metric sums of the manifest's model on the hold-out, then of this device's own, as they are before it trains.

    Empty if there is no hold-out.
    """
    model, personal = work.model, work.brief.personal
    assert model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics rounds
    if not prepared.holdout.samples:
        return b""
    common = _sums(work, prepared, model.weights)
    if not np.isfinite(common).all():
        raise _Unable("the global model's loss on this device's hold-out is not finite")
    vectors = [common]
    if personal and personal.is_measured(trains=work.task.train):
        mine = _sums(work, prepared, own.weights)
        if not np.isfinite(mine).all():
            own.begin_again("its loss on this device's hold-out is not finite")
            mine = _sums(work, prepared, own.weights)
        vectors.append(mine)
    return np.concatenate(vectors).astype("<f8").tobytes()


def _sums(work: Work, prepared: Prepared, weights: Vector) -> Sums:
    plan = work.brief.plan
    with np.errstate(over="ignore", invalid="ignore"):
        return evaluate(work.brief.spec, plan.loss, weights, prepared.holdout, plan.huber_delta).to_vector()

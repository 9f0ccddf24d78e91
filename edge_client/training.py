"""A round's work: from manifest, model and this device's data to the answer.

The data is read once a job and standardised in place, so that one copy of it is in memory.
"""

import logging
import math
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np

from edge_client.data.config import SourceConfig
from edge_client.data.prepare import Prepared, check_width, prepare
from edge_client.data.table import Alive, nobody_watches
from edge_client.events import Answer, Work
from edge_client.rounds import declined
from edge_client.variate import Variate
from fedloom.errors import DataError, Refused
from fedloom.learning.evaluate import evaluate, mean_loss
from fedloom.learning.layout import Vector
from fedloom.learning.metrics import Metrics
from fedloom.learning.standardise import Moments, Standardiser
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import CODES, decode, encode
from fedloom.wire.messages import Brief, Phase, Update

log = logging.getLogger("fedloom.edge")


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
    ) -> None:
        """`residual(name)` reads a stored error-feedback residual, `control(name)` a control variate, empty where it is
        lost; `alive` feeds a watchdog outside of training.
        """
        self._source = source
        self._device = device
        self._residual = residual
        self._control = control
        self._alive = alive
        self._loaded: _Loaded | None = None
        self._trainer: Trainer | None = None

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
        prepared = self._data(work)
        self._alive()
        check_width(self._source, prepared, work.brief.spec.inputs)
        if manifest.phase is Phase.STATISTICS:
            moments = Moments.of(prepared.train.x)
            vector = moments.to_vector().astype("<f8").tobytes()
            return Answer(Update(moments.samples, 0, 0.0, vector, b"", ""))
        if should_stop():
            return None
        metrics = _metrics(work, prepared) if work.task.evaluate else b""
        self._alive()
        if not work.task.train:
            if not metrics:
                raise _Unable("there are no hold-out samples to evaluate on")
            return Answer(Update(0, 0, 0.0, b"", metrics, ""))
        return self._train(work, prepared, metrics, should_stop)

    def _train(self, work: Work, prepared: Prepared, metrics: bytes, should_stop: Callable[[], bool]) -> Answer | None:
        brief, model = work.brief, work.model
        assert model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics rounds
        loss = _mean_loss(work, prepared) if brief.plan.measure_loss else None
        self._alive()
        variate = Variate(brief.plan, self._own_control(work), model.control, model.weights.size)
        trainer = self._trainer_for(brief)
        fit = trainer.fit(model.weights, prepared.train, self._rng(work), should_stop, variate.term)
        if fit.stopped == "asked":
            return None
        if fit.stopped == "diverged":
            raise _Unable(f"training diverged after {fit.steps} steps: weights or loss are not finite")
        delta: Vector = fit.weights
        delta -= model.weights
        change = variate.change(delta, fit.rate_sum)
        control = b"" if change is None else self._encoded(work, change, b"fedloom/1/control")
        vector, residual = self._encode(work, delta)
        update = Update(fit.samples, fit.steps, fit.loss_sum, vector, metrics, "", loss, control)
        return Answer(update, CODES[brief.encoding], residual, variate.advanced(update, brief.encoding))

    def _own_control(self, work: Work) -> Vector | None:
        """This device's variate; None where it is zero."""
        if work.task.counted not in (b"", work.control):
            log.warning("control.lost counted=%s", work.task.counted.hex()[:8])
        kept = self._control(work.control) if work.control else b""
        return np.frombuffer(kept, "<f4") if kept else None

    def _encode(self, work: Work, delta: Vector) -> tuple[bytes, bytes | None]:
        """The update's bytes, and what they have lost: that is added to the next update (error feedback)."""
        encoding = work.brief.encoding
        if encoding == "float32":
            return encode(delta, encoding), None
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

    def _trainer_for(self, brief: Brief) -> Trainer:
        if self._trainer is None or (self._trainer.spec, self._trainer.plan) != (brief.spec, brief.plan):
            self._trainer = None  # its buffers go before the new ones come
            self._trainer = Trainer(brief.spec, brief.plan)
        return self._trainer

    def _rng(self, work: Work) -> np.random.Generator:
        return np.random.default_rng(self._seed(work, b"fedloom/1/rng"))

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


def _mean_loss(work: Work, prepared: Prepared) -> float:
    """Of the manifest's model, over the samples that this device trains on."""
    brief, model = work.brief, work.model
    assert model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics rounds
    with np.errstate(over="ignore", invalid="ignore"):
        loss = mean_loss(brief.spec, brief.plan.loss, model.weights, prepared.train, brief.plan.huber_delta)
    if not math.isfinite(loss):
        raise _Unable("the global model's loss on this device's training samples is not finite")
    return loss


def _metrics(work: Work, prepared: Prepared) -> bytes:
    """Metric sums of the manifest's model on the hold-out; empty if there is none."""
    brief, model = work.brief, work.model
    assert model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics rounds
    if not prepared.holdout.samples:
        return b""
    with np.errstate(over="ignore", invalid="ignore"):
        metrics: Metrics = evaluate(
            brief.spec, brief.plan.loss, model.weights, prepared.holdout, brief.plan.huber_delta
        )
    vector = metrics.to_vector()
    if not np.isfinite(vector).all():
        raise _Unable("the global model's loss on this device's hold-out is not finite")
    return vector.astype("<f8").tobytes()

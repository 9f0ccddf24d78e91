"""A device's own model in one round: where it stands, what it is trained to, what of it is kept for the next.

It goes on whenever the device has trained, whether or not the update that was made beside it is counted in the end: it
is this device's alone. How: fedloom.learning.personal.
"""

import logging
from collections.abc import Callable

import msgspec
import numpy as np

from edge_client.effects import final_model
from edge_client.events import Work
from fedloom.learning.dataset import Dataset
from fedloom.learning.layout import Vector
from fedloom.learning.model import Model
from fedloom.learning.model_file import to_bytes
from fedloom.learning.personal import shared_weights
from fedloom.learning.standardise import Standardiser
from fedloom.learning.trainer import Trainer

log = logging.getLogger("fedloom.edge")


class Own:
    """For one piece of work; in a job without [personal] it is the round's model, and nothing is kept."""

    def __init__(self, work: Work, kept: Model | None) -> None:
        """`kept` is the last one, of whichever job."""
        assert work.model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics
        self.shared = shared_weights(work.brief.spec, work.brief.personal)
        """The first so many weights are the federation's."""
        self._work = work
        self._global: Vector = work.model.weights
        self.weights = self._go_on(kept) if kept is not None and self._fits(kept) else self._global
        """(p,); not to be written to."""

    @property
    def start(self) -> Vector:
        """(p,): what the round's training starts from."""
        return self.weights if self.shared < self._global.size else self._global

    @property
    def needs_tuning(self) -> bool:
        """Whether this is to become the final model's fine-tuned copy, and is not yet."""
        personal = self._work.brief.personal
        is_final = personal is not None and personal.is_measured(trains=self._work.task.train)
        return personal is not None and personal.method == "fine_tune" and is_final and self.weights is self._global

    def train(self, trainer: Trainer, data: Dataset, rng: np.random.Generator, should_stop: Callable[[], bool]) -> bool:
        """Train it for itself, by the personal plan; False: `should_stop` has ended that.

        One that diverges begins again as the federation's.
        """
        fit = trainer.fit(self.weights, data, rng, should_stop, anchor=self._global)
        if fit.stopped == "asked":
            return False
        if fit.stopped == "diverged":
            log.warning("personal.diverged steps=%d", fit.steps)
        self.weights = self._global if fit.stopped == "diverged" else fit.weights
        return True

    def begin_again(self) -> None:
        """What was kept is of no use."""
        log.warning("personal.dropped reason=%r", "its loss on this device's hold-out is not finite")
        self.weights = self._global

    def content(self, weights: Vector | None = None) -> bytes:
        """The file to keep, of `weights` (p,) where they are not `self.weights`."""
        model = final_model(self._work)
        assert self._work.brief.personal is not None  # noqa: S101 - for the type checker: callers have looked
        assert self._work.model is not None  # noqa: S101 - as above
        notes = {"personal": self._work.brief.personal.method, "beside": self._work.model.plain_hash.hex()}
        own = self.weights if weights is None else weights
        return to_bytes(msgspec.structs.replace(model, weights=own, meta=model.meta | notes))

    def _fits(self, kept: Model) -> bool:
        """Whether it is of this run of this job, and sees its inputs as the round's model does."""
        assert self._work.model is not None  # noqa: S101 - as above
        is_ours = kept.meta.get("run") == self._work.manifest.job.hex() and kept.spec == self._work.brief.spec
        return is_ours and _are_same(kept.standardiser, self._work.model.standardiser)

    def _go_on(self, kept: Model) -> Vector:
        assert self._work.brief.personal is not None  # noqa: S101 - for the type checker: nothing is kept without
        assert self._work.model is not None  # noqa: S101 - as above
        match self._work.brief.personal.method:
            case "head":
                return np.concatenate([self._global[: self.shared], kept.weights[self.shared :]])
            case "ditto":
                return kept.weights
            case "fine_tune":
                is_of_this = kept.meta.get("beside") == self._work.model.plain_hash.hex()
                return kept.weights if is_of_this else self._global


def _are_same(one: Standardiser | None, other: Standardiser | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.shift, other.shift) and np.array_equal(one.scale, other.scale)

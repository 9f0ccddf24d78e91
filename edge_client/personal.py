"""A device's own model in one round: where it stands, what it is trained to, what of it is kept for the next.

It goes on whenever the device has trained, whether or not the update that was made beside it is counted in the end: it
is this device's alone. How: fedloom.learning.personal.
"""

import logging

import msgspec
import numpy as np

from edge_client.effects import final_model
from edge_client.events import Work
from fedloom.learning.layout import Vector
from fedloom.learning.model import Model
from fedloom.learning.model_file import to_bytes
from fedloom.learning.personal import shared_layout
from fedloom.learning.standardise import Standardiser
from fedloom.learning.trainer import FitResult

log = logging.getLogger("fedloom.edge")


class Own:
    """For one piece of work; in a job without [personal] it is the round's model, and nothing is kept."""

    def __init__(self, work: Work, kept: Model | None) -> None:
        """`kept` is the last one, of whichever job."""
        assert work.model is not None  # noqa: S101 - for the type checker: the session gives none only to statistics
        self._work, self._model = work, work.model
        self._method = work.brief.personal.method if work.brief.personal else None
        self.shared = shared_layout(work.brief.spec, work.brief.personal).size
        """The first so many weights are the federation's."""
        self.common: Vector = work.model.weights
        """(p,): the round's model."""
        self.weights = self._go_on(kept) if kept is not None and self._fits(kept) else self.common
        """(p,); not to be written to."""

    @property
    def start(self) -> Vector:
        """(p,): what the round's training starts from."""
        return self.weights if self._method == "head" else self.common

    @property
    def trains_beside(self) -> bool:
        """Whether it is trained in each round, for itself."""
        return self._method == "ditto"

    @property
    def needs_tuning(self) -> bool:
        """Whether this is to become the final model's fine-tuned copy, and is not yet."""
        return self._method == "fine_tune" and not self._work.task.train and self.weights is self.common

    def take(self, fit: FitResult) -> None:
        """What it was trained to; one that diverges begins again as the federation's."""
        if fit.stopped == "diverged":
            self.begin_again("its training diverged")
        else:
            self.weights = fit.weights

    def begin_again(self, reason: str) -> None:
        """What it has become is of no use."""
        log.warning("personal.dropped reason=%r", reason)
        self.weights = self.common

    def after(self, weights: Vector) -> bytes | None:
        """The file to keep where the round's training, from `start`, has made these weights (p,); None: none."""
        match self._method:
            case "head":
                return self.content(weights)
            case "ditto":
                return self.content(self.weights)
            case _:
                return None

    def content(self, weights: Vector) -> bytes:
        """The file to keep, of these weights (p,)."""
        model = final_model(self._work)
        notes = {"personal": self._method or "", "beside": self._model.plain_hash.hex()}
        return to_bytes(msgspec.structs.replace(model, weights=weights, meta=model.meta | notes))

    def _fits(self, kept: Model) -> bool:
        """Whether it is of this run of this job, and sees its inputs as the round's model does."""
        is_ours = kept.meta.get("run") == self._work.manifest.job.hex() and kept.spec == self._work.brief.spec
        return is_ours and _are_same(kept.standardiser, self._model.standardiser)

    def _go_on(self, kept: Model) -> Vector:
        match self._method:
            case "head":
                return np.concatenate([self.common[: self.shared], kept.weights[self.shared :]])
            case "ditto":
                return kept.weights
            case "fine_tune" if kept.meta.get("beside") == self._model.plain_hash.hex():
                return kept.weights
            case _:
                return self.common


def _are_same(one: Standardiser | None, other: Standardiser | None) -> bool:
    if one is None or other is None:
        return one is other
    return np.array_equal(one.shift, other.shift) and np.array_equal(one.scale, other.scale)

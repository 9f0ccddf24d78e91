"""A trained model as one value: what it is, its weights, and how raw features become its inputs."""

import msgspec
import numpy as np
from numpy.typing import NDArray

from fedloom.learning.blocks import logits_in_blocks
from fedloom.learning.layout import Array, Vector
from fedloom.learning.losses import sigmoid, softmax
from fedloom.learning.plan import Loss
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser


class Model(msgspec.Struct, frozen=True, eq=False, kw_only=True):
    """Everything that is needed to predict from raw features, and to explain what was predicted."""

    spec: ModelSpec
    loss: Loss
    """Says what the outputs mean: values, one logit, or a logit a class."""
    weights: Vector
    """(p,) float32."""
    standardiser: Standardiser | None = None
    """The input layer: applied to raw features first."""
    classes: tuple[str, ...] = ()
    """Labels in the order of the outputs (binary: of 0 and 1); empty for regression, or if they have no names."""
    features: tuple[str, ...] = ()
    """Names of the inputs in their order; empty if they have no names."""
    meta: dict[str, str] = msgspec.field(default_factory=dict)
    """Free notes: job, round, when, by whom."""

    def check(self) -> None:
        """Refuse parts that do not fit together.

        Raises:
            ValueError: says which.
        """
        size = self.spec.layout().size
        if self.weights.shape != (size,) or self.weights.dtype != np.float32:
            raise ValueError(
                f"weights are {self.weights.dtype} of shape {self.weights.shape}, not float32 of ({size},)"
            )
        if not np.isfinite(self.weights).all():
            raise ValueError("weights are not finite")
        self._check_names()
        if self.standardiser is not None:
            shift, scale = self.standardiser
            if shift.shape != (self.spec.inputs,) or scale.shape != (self.spec.inputs,):
                raise ValueError(f"the standardiser has {len(shift)} features, the model {self.spec.inputs}")
            if not (np.isfinite(shift).all() and np.isfinite(scale).all() and (scale > 0.0).all()):
                raise ValueError("the standardiser is not finite, or has a scale that is not positive")

    def _check_names(self) -> None:
        if self.features and len(self.features) != self.spec.inputs:
            raise ValueError(f"{len(self.features)} feature names for {self.spec.inputs} inputs")
        if self.loss == "binary_cross_entropy" and self.spec.outputs != 1:
            raise ValueError(f"{self.spec.outputs} outputs, but binary_cross_entropy has 1")
        expected = {"cross_entropy": self.spec.outputs, "binary_cross_entropy": 2}.get(self.loss, 0)
        if self.classes and len(self.classes) != expected:
            raise ValueError(f"{len(self.classes)} classes for loss {self.loss} and {self.spec.outputs} outputs")

    def logits(self, x: Array) -> NDArray[np.float32]:
        """(n, k) last-layer outputs for (n, d) raw features.

        Raises:
            ValueError: the number of features does not fit.
        """
        if x.ndim != 2 or x.shape[1] != self.spec.inputs:
            raise ValueError(f"features of shape {x.shape} for a model with {self.spec.inputs} inputs")
        inputs = self.standardiser.apply(x) if self.standardiser else x
        out: NDArray[np.float32] = np.empty((len(x), self.spec.outputs), np.float32)
        for rows, logits in logits_in_blocks(self.spec, self.weights, inputs):
            out[rows] = logits[0]
        return out

    def outputs(self, x: Array) -> NDArray[np.float32]:
        """(n, k) for raw features: probabilities of the classes; binary: (n, 1), of class 1; regression: values."""
        out = self.logits(x)
        if self.loss == "cross_entropy":
            softmax(out)
        elif self.loss == "binary_cross_entropy":
            sigmoid(out)
        return out

    def predict(self, x: Array) -> NDArray[np.float32] | NDArray[np.int64]:
        """Class numbers (n,) int64 for raw features; regression: values (n, k) float32."""
        out = self.logits(x)
        if self.loss == "cross_entropy":
            labels: NDArray[np.int64] = out.argmax(axis=1)
            return labels
        if self.loss == "binary_cross_entropy":
            return (out[:, 0] > 0.0).astype(np.int64)
        return out

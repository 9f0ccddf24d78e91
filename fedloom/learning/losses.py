"""Losses of a cohort: the value for every sample, and the gradient with respect to the logits, in place.

All take logits z and targets t of (c, b, k) and sum over the k outputs of a sample. Class numbers are written as
one-hot rows (`encode_targets`). The mean over the batch, sample weights and the learning rate are factors of the
gradient, which the caller hands in as `scale`.

- mse: ½‖z − t‖², so that a batch's mean is J = 1/(2m) Σ‖ŷ − y‖² (the ½m convention: the gradient has no factor 2).
- huber: ½e² where |e| ≤ δ, else δ(|e| − ½δ), e = z − t (Huber 1964, doi:10.1214/aoms/1177703732).
- binary_cross_entropy: log(1 + e^z) − t·z, t ∈ {0, 1}.
- cross_entropy: log Σ e^z − t·z, t one-hot.
"""

from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from fedloom.learning.layout import Array
from fedloom.learning.plan import Loss


class LossFunction(Protocol):
    """One of the losses above."""

    def __call__(self, logits: Array, targets: Array, scale: float | Array, values: Array | None) -> None:
        """Put ∂loss/∂z·`scale` into `logits` and the samples' losses (not scaled) into `values` (c, b), if wanted.

        `scale` is a number or (c, b, 1).
        """


def loss_function(loss: Loss, huber_delta: float = 1.0) -> LossFunction:
    """The function that a plan names."""
    match loss:
        case "mse":
            return SquaredError()
        case "huber":
            return Huber(huber_delta)
        case "binary_cross_entropy":
            return BinaryCrossEntropy()
        case "cross_entropy":
            return CrossEntropy()


def encode_targets(y: Array, loss: Loss, outputs: int, dtype: DTypeLike = np.float32) -> Array:
    """Targets as (n, outputs) numbers: one-hot rows for class numbers, otherwise `y` as it is.

    Raises:
        ValueError: the shape does not fit the outputs, or a class number is out of range.
    """
    if loss in ("mse", "huber"):
        if y.reshape(len(y), -1).shape[1] != outputs:
            raise ValueError(f"targets of shape {y.shape} for {outputs} outputs")
        return np.ascontiguousarray(y.reshape(len(y), outputs), dtype=dtype)
    classes = 2 if loss == "binary_cross_entropy" else outputs
    if y.ndim != 1 or y.dtype.kind not in "iu":
        raise ValueError(f"class numbers must be a vector of integers, not {y.dtype} of shape {y.shape}")
    if len(y) and (y.min() < 0 or y.max() >= classes):
        raise ValueError(f"class numbers from {y.min()} to {y.max()} for {classes} classes")
    if loss == "binary_cross_entropy":
        return y.astype(dtype).reshape(-1, 1)
    one_hot = np.zeros((len(y), outputs), dtype)
    one_hot[np.arange(len(y)), y] = 1.0
    return one_hot


class SquaredError:
    """½‖z − t‖²."""

    def __call__(self, logits: Array, targets: Array, scale: float | Array, values: Array | None) -> None:
        np.subtract(logits, targets, out=logits)
        if values is not None:
            np.vecdot(logits, logits, out=values)
            np.multiply(values, 0.5, out=values)
        np.multiply(logits, scale, out=logits)


class Huber:
    """½e² near zero, linear beyond `delta`. With g = clip(e, ±δ), the gradient, both branches are g·(e − ½g)."""

    def __init__(self, delta: float) -> None:
        self.delta = delta
        self._scratch = _Scratch()

    def __call__(self, logits: Array, targets: Array, scale: float | Array, values: Array | None) -> None:
        clipped = self._scratch.like(logits)
        np.subtract(logits, targets, out=logits)
        np.minimum(logits, self.delta, out=clipped)
        np.maximum(clipped, -self.delta, out=clipped)
        if values is not None:
            np.multiply(clipped, -0.5, out=clipped)
            np.add(logits, clipped, out=logits)
            np.multiply(clipped, -2.0, out=clipped)  # exact: powers of two
            np.vecdot(logits, clipped, out=values)
        np.multiply(clipped, scale, out=logits)


class BinaryCrossEntropy:
    """log(1 + e^z) − t·z for each output; σ(z) = ½ + ½·tanh(z/2) never overflows."""

    def __init__(self) -> None:
        self._scratch = _Scratch()

    def __call__(self, logits: Array, targets: Array, scale: float | Array, values: Array | None) -> None:
        if values is not None:
            scratch = self._scratch.like(logits)
            np.logaddexp(logits, 0.0, out=scratch)
            np.add.reduce(scratch, axis=-1, out=values)
            products = scratch[..., 0]
            np.vecdot(logits, targets, out=products)
            np.subtract(values, products, out=values)
        sigmoid(logits)
        np.subtract(logits, targets, out=logits)
        np.multiply(logits, scale, out=logits)


class CrossEntropy:
    """log Σ e^z − t·z, computed on z − max z so that nothing overflows."""

    def __init__(self) -> None:
        self._scratch = _Scratch()

    def __call__(self, logits: Array, targets: Array, scale: float | Array, values: Array | None) -> None:
        column = self._scratch.like(logits[..., :1])
        sums = column[..., 0]
        _along_rows(np.maximum, logits, sums)
        np.subtract(logits, column, out=logits)
        if values is not None:
            np.vecdot(logits, targets, out=values)
        np.exp(logits, out=logits)
        _along_rows(np.add, logits, sums)
        np.divide(logits, column, out=logits)
        if values is not None:
            np.log(sums, out=sums)
            np.subtract(sums, values, out=values)
        np.subtract(logits, targets, out=logits)
        np.multiply(logits, scale, out=logits)


def sigmoid(logits: Array) -> None:
    """1/(1 + e^−z), in place."""
    np.multiply(logits, 0.5, out=logits)
    np.tanh(logits, out=logits)
    np.multiply(logits, 0.5, out=logits)
    np.add(logits, 0.5, out=logits)


def softmax(logits: Array) -> None:
    """e^z / Σ e^z over the last axis, in place."""
    np.subtract(logits, logits.max(axis=-1, keepdims=True), out=logits)
    np.exp(logits, out=logits)
    np.divide(logits, logits.sum(axis=-1, keepdims=True), out=logits)


def _along_rows(combine: np.ufunc, values: Array, out: Array) -> None:
    """(c, b) the sums or maxima of (c, b, k): numpy reduces many short rows 3-20 times as slowly as columns."""
    k = values.shape[-1]
    if k > 16 or out.size < 25 * k:  # where the two take the same time
        combine.reduce(values, axis=-1, out=out)
        return
    np.copyto(out, values[..., 0])
    for column in range(1, k):
        combine(out, values[..., column], out=out)


class _Scratch:
    """One buffer, grown when a larger batch comes, and its view for the last shape that was asked for."""

    def __init__(self) -> None:
        self._views: dict[tuple[int, ...], Array] = {}
        self._buffer: Array = np.empty(0, np.float32)

    def like(self, array: Array) -> Array:
        view = self._views.get(array.shape)
        if view is None or view.dtype != array.dtype:
            if self._buffer.size < array.size or self._buffer.dtype != array.dtype:
                self._buffer = np.empty(array.size, array.dtype)
                self._views.clear()
            view = self._views[array.shape] = self._buffer[: array.size].reshape(array.shape)
        return view

"""A group's steps in PyTorch, on a GPU where there is one.

The gradients are PyTorch's own; penalties, clipping and optimisers are written once more, over (g, p) tensors, with the
conventions of `fedloom.learning`. Order and dropout come from the same generator, so that the results are numpy's.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import DTypeLike

from fedloom.errors import FedloomError
from fedloom.learning.layout import Array
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from simulation.cohort.schedule import Schedule
from simulation.cohort.shards import Converted, Shards
from simulation.cohort.steps import InPlace

if TYPE_CHECKING:
    from torch import Tensor


class Tensors:
    """Where the products are computed, and the samples there."""

    def __init__(self, dtype: DTypeLike) -> None:
        """Raises:
        FedloomError: PyTorch is not installed.
        """
        self.torch, self.dtype = _torch(), np.dtype(dtype)
        self.device = "cuda" if self.torch.cuda.is_available() else "cpu"
        self._pool = Converted(lambda shards: (self.tensor(shards.x), self.tensor(shards.targets)))

    def tensor(self, values: Array) -> "Tensor":
        """A copy."""
        made: Tensor = self.torch.from_numpy(np.array(values, self.dtype)).to(self.device)
        return made

    def of(self, shards: Shards) -> tuple["Tensor", "Tensor"]:
        """Features and targets."""
        return self._pool.of(shards)


class TorchSteps(InPlace):
    """Any plan, a step at a time; see `Walker`."""

    stride = 1

    def __init__(self, spec: ModelSpec, plan: TrainPlan, clients: int, batch: int, samples: "Tensors") -> None:
        self._torch, self._device, self._dtype = samples.torch, samples.device, samples.dtype
        self._spec, self._plan, self._samples = spec, plan, samples
        self._shape = clients, spec.layout().size
        self._flat = self._tensor(np.zeros(self._shape))
        self._anchor, self._linear = self._flat, self._flat
        self._moments: list[Tensor] = []
        self._steps = 0

    @property
    def weights(self) -> Array:
        """(g, p)."""
        found: Array = self._flat.cpu().numpy()
        return found

    def start(self, weights: Array, linear: Array | float, anchor: Array | None) -> None:
        """See `Walker`."""
        self._flat = self._tensor(np.broadcast_to(weights, self._shape))
        self._anchor = self._flat if anchor is None else self._tensor(np.broadcast_to(anchor, self._shape))
        self._linear = self._tensor(np.broadcast_to(np.asarray(linear, self._dtype), self._shape))
        self._moments = [self._torch.zeros_like(self._flat) for _ in range(2)]
        self._steps = 0

    def walk(
        self,
        shards: Shards,
        schedule: Schedule,
        first: int,
        rates: Sequence[float],
        rng: np.random.Generator,
        values: Array,
    ) -> None:
        """See `Walker`."""
        x, targets = self._samples.of(shards)
        for number, rate in enumerate(rates):
            rows = schedule.rows(first + number, first + number + 1)[0]
            share = schedule.share(first + number, rows)
            chosen = self._torch.from_numpy(rows).to(self._device)
            gradient, losses = self._gradient(x[chosen], targets[chosen], share, rng)
            values[number] = losses.cpu().numpy()
            self._flat = self._updated(self._clipped(self._penalised(gradient)), rate)

    def _tensor(self, values: Array) -> "Tensor":
        return self._samples.tensor(values)

    def _gradient(
        self, x: "Tensor", targets: "Tensor", share: float | Array, rng: np.random.Generator
    ) -> tuple["Tensor", "Tensor"]:
        """∂/∂w Σ share·loss, (g, p), and the samples' losses (g, b)."""
        torch = self._torch
        flat = self._flat.detach().requires_grad_(True)
        losses = _LOSSES[self._plan.loss](torch, self._logits(flat, x, rng), targets, self._plan.huber_delta)
        weighted = losses * (share if isinstance(share, float) else self._tensor(share[..., 0]))
        (gradient,) = torch.autograd.grad(weighted.sum(), flat)
        return gradient, losses.detach()

    def _logits(self, flat: "Tensor", x: "Tensor", rng: np.random.Generator) -> "Tensor":
        widths, start, spec = self._spec.widths, 0, self._spec
        for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
            if number:
                x = self._torch.relu(x) if spec.activation == "relu" else self._torch.tanh(x)
                if spec.dropout:
                    x = x * self._mask(tuple(x.shape), rng)
            stop = start + (fan_in + 1) * fan_out
            matrix = flat[:, start:stop].reshape(-1, fan_in + 1, fan_out)
            x = self._torch.baddbmm(matrix[:, -1:], x, matrix[:, :-1])
            start = stop
        return x

    def _mask(self, shape: tuple[int, ...], rng: np.random.Generator) -> "Tensor":
        """0 or 1/keep, as `Network` draws them: with one more column, which nobody looks at."""
        keep = 1.0 - self._spec.dropout
        drawn = np.floor(rng.random((*shape[:-1], shape[-1] + 1), cast("type[np.float32]", self._dtype.type)) + keep)[
            ..., :-1
        ]
        return self._tensor(drawn / keep)

    def _penalised(self, gradient: "Tensor") -> "Tensor":
        plan, weights = self._plan, self._flat
        if plan.l2:
            gradient = gradient + plan.l2 * weights
        if plan.l1:
            gradient = gradient + plan.l1 * weights.sign()
        if plan.proximal_mu:
            gradient = gradient + plan.proximal_mu * (weights - self._anchor)
        return gradient + self._linear if plan.correction != "none" else gradient

    def _clipped(self, gradient: "Tensor") -> "Tensor":
        if not self._plan.clip_norm:
            return gradient
        norms = gradient.norm(dim=1, keepdim=True)
        return gradient * (self._plan.clip_norm / norms.clamp(min=self._plan.clip_norm))

    def _updated(self, gradient: "Tensor", rate: float) -> "Tensor":
        plan, weights = self._plan, self._flat
        self._steps += 1
        if plan.optimiser == "sgd":
            return weights - rate * gradient
        if plan.optimiser == "adam":
            mean, square = self._moments
            mean.lerp_(gradient, 1.0 - plan.beta1)
            square.lerp_(gradient * gradient, 1.0 - plan.beta2)
            root = (square / (1.0 - plan.beta2**self._steps)).sqrt() + plan.epsilon
            return weights - rate / (1.0 - plan.beta1**self._steps) * mean / root
        velocity = self._moments[0]
        velocity.mul_(plan.momentum).add_(gradient)
        return weights - rate * (velocity if plan.optimiser == "momentum" else gradient + plan.momentum * velocity)


def _squares(torch: Any, logits: "Tensor", targets: "Tensor", delta: float) -> "Tensor":
    return 0.5 * ((logits - targets) ** 2).sum(dim=-1)


def _huber(torch: Any, logits: "Tensor", targets: "Tensor", delta: float) -> "Tensor":
    return torch.nn.functional.huber_loss(logits, targets, reduction="none", delta=delta).sum(dim=-1)


def _binary(torch: Any, logits: "Tensor", targets: "Tensor", delta: float) -> "Tensor":
    return (torch.nn.functional.softplus(logits) - logits * targets).sum(dim=-1)


def _classes(torch: Any, logits: "Tensor", targets: "Tensor", delta: float) -> "Tensor":
    return logits.logsumexp(dim=-1) - (logits * targets).sum(dim=-1)


_LOSSES: dict[str, Callable[[Any, "Tensor", "Tensor", float], "Tensor"]] = {
    "mse": _squares,
    "huber": _huber,
    "binary_cross_entropy": _binary,
    "cross_entropy": _classes,
}
"""(g, b) of logits and targets (g, b, k); the definitions of `fedloom.learning.losses`."""


def _torch() -> Any:
    try:
        import torch
    except ImportError:
        remedy = "install it with pip install 'fedloom[torch]', or leave the backend at numpy"
        raise FedloomError(f"the backend 'torch' needs PyTorch; {remedy}") from None
    return torch

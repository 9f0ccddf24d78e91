"""What a device does in a round with the model it is given: loss, optimiser, batches, penalties, stopping."""

from math import ceil
from typing import Annotated, Literal

import msgspec

Loss = Literal["mse", "huber", "binary_cross_entropy", "cross_entropy"]
Optimiser = Literal["sgd", "momentum", "nesterov", "adam"]
Schedule = Literal["constant", "step", "cosine"]
Correction = Literal["none", "scaffold", "feddyn"]
Positive = Annotated[float, msgspec.Meta(gt=0.0)]
NonNegative = Annotated[float, msgspec.Meta(ge=0.0)]
Fraction = Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)]
Count = Annotated[int, msgspec.Meta(ge=0)]


class TrainPlan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How to train for one round. Goes from the job file through the signed manifest to the device as it is."""

    loss: Loss
    learning_rate: Positive = 0.1
    optimiser: Optimiser = "sgd"
    momentum: Fraction = 0.9
    """Used by `momentum` and `nesterov` only."""
    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    epsilon: Positive = 1e-8
    batch_size: Count = 32
    """Samples a step; 0 is the full batch, 1 single-sample SGD."""
    local_epochs: Annotated[int, msgspec.Meta(ge=1)] = 1
    max_steps: Count = 0
    """Stop after so many steps in a round; 0 is no limit."""
    shuffle: bool = True
    l1: NonNegative = 0.0
    l2: NonNegative = 0.0
    """Adds l1·Σ|w| + ½·l2·Σw² to the loss, biases included (as torch's weight_decay does)."""
    proximal_mu: NonNegative = 0.0
    """FedProx: adds ½·μ·‖w − w_global‖² to the loss (Li et al. 2020, arXiv:1812.06127, eq. 2)."""
    clip_norm: NonNegative = 0.0
    """A step's gradient is scaled down to this Euclidean norm; 0 is no clipping."""
    schedule: Schedule = "constant"
    step_every: Count = 0
    """Schedule `step`: multiply the learning rate by `step_factor` after so many local steps."""
    step_factor: Annotated[float, msgspec.Meta(gt=0.0, le=1.0)] = 0.5
    tolerance: NonNegative = 0.0
    """Stop when an epoch's mean loss improves by less than this for `patience` epochs; 0 is never."""
    patience: Annotated[int, msgspec.Meta(ge=1)] = 1
    huber_delta: Positive = 1.0
    class_weights: tuple[NonNegative, ...] = ()
    """One weight a class, in the order of `data.classes`; empty is all equal."""
    correction: Correction = "none"
    """What keeps a device from drifting to its own optimum, see fedloom.learning.corrections. Set by the strategy."""
    measure_loss: bool = False
    """Whether devices tell the mean loss of the round's model on what they train on. Set by the strategy."""

    def steps(self, samples: int) -> int:
        """Gradient steps on so many samples, where nothing ends the training early.

        >>> TrainPlan("mse", local_epochs=3).steps(33), TrainPlan("mse", batch_size=0, max_steps=9).steps(33)
        (6, 1)
        """
        planned = self.local_epochs * ceil(samples / (self.batch_size or samples or 1))
        return min(planned, self.max_steps or planned)

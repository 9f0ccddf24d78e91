"""What a model is, as data: a job file carries it, a manifest sends it, and no code ever travels to a device."""

import functools
from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from fedloom.learning.layout import Layout

MAX_WIDTH = 65_536
MAX_DEPTH = 32

Width = Annotated[int, msgspec.Meta(ge=1, le=MAX_WIDTH)]
Activation = Literal["relu", "tanh"]


class ModelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A linear model or a multi-layer perceptron: inputs → hidden[0] → … → outputs.

    With no hidden layer it is linear regression, logistic regression or softmax regression, as the loss says.
    The last layer has no activation: losses take its outputs (logits) as they are.
    """

    inputs: Width
    outputs: Width
    hidden: Annotated[tuple[Width, ...], msgspec.Meta(max_length=MAX_DEPTH)] = ()
    activation: Activation = "relu"
    dropout: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.0
    """Probability that a hidden unit is left out of a training step; the others are scaled up (inverted dropout)."""

    @property
    def widths(self) -> tuple[int, ...]:
        """(inputs, hidden…, outputs)."""
        return (self.inputs, *self.hidden, self.outputs)

    def layout(self) -> Layout:
        """`0.weight` (inputs, hidden[0]), `0.bias` (hidden[0],), `1.weight` …; weights are (fan in, fan out)."""
        return _layout(self.widths)


@functools.lru_cache
def _layout(widths: tuple[int, ...]) -> Layout:
    names: list[str] = []
    shapes: list[tuple[int, ...]] = []
    for number, (fan_in, fan_out) in enumerate(pairwise(widths)):
        names += [f"{number}.weight", f"{number}.bias"]
        shapes += [(fan_in, fan_out), (fan_out,)]
    return Layout(tuple(names), tuple(shapes))

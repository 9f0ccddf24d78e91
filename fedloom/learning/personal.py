"""Personal models: what a job may leave to each device, because one model does not suit all of them.

- `head`: the last layers' weights never leave the device. The flat vector has the layers one behind the other, so what
  is shared is its first b weights: w[:b] travels and is fused, and each device goes on with its own w[b:].
- `ditto`: beside each round's training the device keeps a model v of its own, which it trains from where it was, by
  min_v F_k(v) + ½·λ·‖v − w‖², where w is the round's model. What travels is what would travel without it.
- `fine_tune`: once the job's model is final, the device trains it for a few epochs more and keeps what comes of that.

Source: Arivazhagan, Aggarwal, Singh, Choudhary 2019, "Federated learning with personalization layers",
arXiv:1912.00818, algorithms 1 and 2; Li, Hu, Beirami, Smith 2021, "Ditto: fair and robust federated learning through
personalization", arXiv:2012.04221, algorithm 1.
"""

from typing import Annotated, Literal

import msgspec

from fedloom.errors import ConfigError
from fedloom.learning.layout import Layout
from fedloom.learning.plan import NonNegative, TrainPlan
from fedloom.learning.spec import MAX_DEPTH, ModelSpec

PREFIX = "personal_"
"""Before the name of a figure that is of the devices' own models."""

Method = Literal["head", "ditto", "fine_tune"]


class Personal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How each device gets a model of its own. Goes from the job file to the device as it is."""

    method: Method
    layers: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEPTH)] = 1
    """`head`: how many of the last layers, weights and biases, stay on the device."""
    strength: NonNegative = 0.1
    """`ditto`: λ, how strongly the personal model is pulled to the federation's; 0 is a model of this device alone."""
    epochs: Annotated[int, msgspec.Meta(ge=1)] = 1
    """`ditto`, `fine_tune`: passes over the device's samples, each round or once."""
    learning_rate: NonNegative = 0.0
    """`ditto`, `fine_tune`: of the personal model; 0 is that of the plan."""

    def plan(self, plan: TrainPlan) -> TrainPlan:
        """How the personal model is trained: as the round's, without what draws that to the others'."""
        return msgspec.structs.replace(
            plan,
            local_epochs=self.epochs,
            learning_rate=self.learning_rate or plan.learning_rate,
            proximal_mu=self.strength if self.method == "ditto" else 0.0,
            correction="none",
        )

    def is_measured(self, *, trains: bool) -> bool:
        """Whether it is evaluated beside the round's model: a fine-tuned one is there once nothing is trained more."""
        return not (trains and self.method == "fine_tune")


_USERS: dict[str, tuple[Method, ...]] = {
    "layers": ("head",),
    "strength": ("ditto",),
    "epochs": ("ditto", "fine_tune"),
    "learning_rate": ("ditto", "fine_tune"),
}


def check_method(personal: Personal, where: str) -> None:
    """Refuse an option that the method does not have.

    Raises:
        ConfigError: names it.
    """
    for key, users in _USERS.items():
        if personal.method not in users and getattr(personal, key) != getattr(Personal(personal.method), key):
            problem, able = f"is nothing that method {personal.method!r} has", " or ".join(map(repr, users))
            raise ConfigError(where, f"personal.{key}", problem, f"leave it out, or set personal.method to {able}")


def shared_layout(spec: ModelSpec, personal: Personal | None) -> Layout:
    """Of the first b weights of the flat vector, which travel in updates and are fused.

    >>> shared_layout(ModelSpec(inputs=4, outputs=3, hidden=(8,)), Personal(method="head")).shapes
    ((4, 8), (8,))
    """
    layout = spec.layout()
    own = 2 * personal.layers if personal and personal.method == "head" else 0  # a layer is its weights and its biases
    kept = len(layout.shapes) - own
    return Layout(layout.names[:kept], layout.shapes[:kept])

"""The rules that a job names: what fuses its updates, and what draws its cohorts."""

from typing import Annotated

import msgspec

Label = Annotated[str, msgspec.Meta(pattern=r"^[^=\s][^=]*(=.*)?\Z", max_length=201)]
"""`KEY=VALUE`, or `KEY` for any value."""


class StrategyChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fusion rule, with which parameters."""

    name: str = "fedavg"
    options: dict[str, bool | int | float | str] = {}
    """Of the rule, its server optimiser and its pre-steps together."""
    server: str = ""
    """The server optimiser of a composed rule; empty is the rule's own."""
    before: tuple[str, ...] = ()
    """Pre-steps, in order: what is done to the updates before the rule sees them."""
    robust: bool = False
    """Withstand devices that lie, without a choice of rule: in the place of `name` and `before`."""


class CohortChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices take part in the job, and which of them in a round."""

    name: str = "uniform"
    """The rule that draws a training round's devices."""
    options: dict[str, bool | int | float | str] = {}
    """Of the rule."""
    require: tuple[Label, ...] = ()
    """Labels that a device needs, all of them, to take part at all."""
    exclude: tuple[Label, ...] = ()
    """Labels any of which keeps a device out."""

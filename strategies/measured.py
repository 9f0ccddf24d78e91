"""What a rule asks of the devices that looks at their losses (q-FedAvg): to measure them before they train."""

import msgspec

from fedloom.learning.plan import TrainPlan


class Measured(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`ClientUpdate.loss` is a number: one more pass over a device's data."""

    def plan(self, base: TrainPlan) -> TrainPlan:
        """The job's own, and the loss."""
        return msgspec.structs.replace(base, measure_loss=True)

"""The learning that both sides are asked to do, in each one's own words."""

import json
from typing import NamedTuple

from synthetic import CLASSES, INPUTS

SOFTMAX: tuple[int, ...] = (INPUTS, CLASSES)
TWO_NN: tuple[int, ...] = (INPUTS, 200, 200, CLASSES)
"""The 2NN of McMahan et al. 2017, arXiv:1602.05629: 199,210 weights."""


class Work(NamedTuple):
    """Federated averaging of a ReLU network with softmax; all devices in each round, no evaluation."""

    widths: tuple[int, ...]
    rounds: int
    devices: int
    epochs: int = 1
    batch_size: int = 32

    @property
    def model_kib(self) -> float:
        """float32 weights and biases."""
        weights = sum((fan_in + 1) * fan_out for fan_in, fan_out in zip(self.widths, self.widths[1:], strict=False))
        return weights * 4 / 1024

    def as_run_config(self) -> dict[str, str | int]:
        """For the app in flwr_app/."""
        widths = ",".join(map(str, self.widths))
        shape: dict[str, str | int] = {"widths": widths, "rounds": self.rounds, "devices": self.devices}
        return shape | {"epochs": self.epochs, "batch-size": self.batch_size}

    def as_job(self) -> str:
        """A job file."""
        classes = [str(number) for number in range(CLASSES)]
        return f"""\
name = "benchmark"

[model]
inputs = {self.widths[0]}
hidden = {list(self.widths[1:-1])}
outputs = {self.widths[-1]}

[data]
features = ["x"]
target = "y"
classes = {json.dumps(classes)}
standardise = false
holdout.fraction = 0.0

[training]
loss = "cross_entropy"
learning_rate = 0.05
local_epochs = {self.epochs}
batch_size = {self.batch_size}

[rounds]
count = {self.rounds}
devices = {self.devices}
over_selection = 1.0
evaluate = 0.0
deadline_s = 300.0
"""

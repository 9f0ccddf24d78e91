"""A plain loop in torch."""

from collections.abc import Sequence
from itertools import pairwise

import pooled
import torch
from task import RATE, Array, Data, Task
from torch import Tensor, nn

_models: dict[tuple[int, ...], nn.Sequential] = {}


def set_up() -> None:
    """In each process."""
    torch.set_num_threads(1)


def network(widths: Sequence[int]) -> nn.Sequential:
    """Linear layers with ReLU in between."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def put(model: nn.Module, arrays: Sequence[Array]) -> None:
    """torch's weights are (fan out, fan in)."""
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), arrays, strict=True):
            parameter.copy_(torch.from_numpy(array.T))


def loss_of(task: Task, out: Tensor, y: Tensor) -> Tensor:
    """Half the squared error, or cross-entropy."""
    return 0.5 * nn.functional.mse_loss(out[:, 0], y) if task.is_regression else nn.functional.cross_entropy(out, y)


def share(task: Task, clients: Sequence[Data], part: range, start: Sequence[Array]) -> list[Array]:
    """See `pooled.Share`."""
    model = network(task.widths)
    parameters = list(model.parameters())
    put(model, start)
    first = [parameter.detach().clone() for parameter in parameters]
    totals = [torch.zeros_like(each) for each in first]
    torch.manual_seed(part.start)
    for number in part:
        data = clients[number % len(clients)]
        x, y = torch.from_numpy(data.x), torch.from_numpy(data.y)
        with torch.no_grad():
            torch._foreach_copy_(parameters, first)
        optimiser = torch.optim.SGD(parameters, lr=RATE)
        for rows in torch.randperm(task.samples).split(task.batch):
            optimiser.zero_grad()
            loss_of(task, model(x[rows]), y[rows]).backward()
            optimiser.step()
        with torch.no_grad():
            torch._foreach_add_(totals, parameters)
    return [total.numpy().T for total in totals]


if __name__ == "__main__":
    pooled.run(share, {"torch": torch.__version__}, set_up)

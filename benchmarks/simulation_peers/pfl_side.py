"""pfl-research: its FederatedAveraging on its SimulatedBackend with a torch model, in one or two processes.

The setting begins with the number of processes; pfl finds the other one through the variables that `torchrun` sets.
"""

import os
import socket
import subprocess
import sys
from importlib.metadata import version

import task as tasks

task = tasks.from_arguments()
RANK = int(os.environ.get("RANK", "0"))


def join() -> list[subprocess.Popen[bytes]]:
    """Start the other processes, before pfl looks for them."""
    count = int(task.setting.split()[0])
    if count == 1 or "RANK" in os.environ:
        return []
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": str(count), "TORCHELASTIC_RUN_ID": "1"}
    started = []
    for rank in range(1, count):
        own = {"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(count)}
        started.append(subprocess.Popen([sys.executable, *sys.argv], env=os.environ | common | own))
    os.environ.update(common | {"RANK": "0", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": str(count)})
    return started


others = join()

import numpy as np  # noqa: E402 - pfl reads those variables when it is imported
import torch  # noqa: E402
from pfl.aggregate.simulate import SimulatedBackend  # noqa: E402
from pfl.algorithm.base import NNAlgorithmParams  # noqa: E402
from pfl.algorithm.federated_averaging import FederatedAveraging  # noqa: E402
from pfl.callback.base import TrainingProcessCallback  # noqa: E402
from pfl.data.dataset import Dataset  # noqa: E402
from pfl.data.federated_dataset import FederatedDataset  # noqa: E402
from pfl.data.sampling import get_user_sampler  # noqa: E402
from pfl.hyperparam.base import NNTrainHyperParams  # noqa: E402
from pfl.metrics import Metrics  # noqa: E402
from pfl.model.pytorch import PyTorchModel  # noqa: E402
from torch_loop import loss_of, network, put  # noqa: E402

MANY = 1_000_000


class Network(torch.nn.Module):
    """As pfl wants it: with a loss and metrics of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network(task.widths)
        put(self.layers, tasks.initial(task))

    def loss(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Of a batch."""
        return loss_of(task, self.layers(x), y)

    def metrics(self, x: torch.Tensor, y: torch.Tensor) -> dict[str, float]:
        """None: nothing is evaluated."""
        return {}


class Watch(TrainingProcessCallback):
    """Tells the meter of rounds; ends them all in the same one."""

    def __init__(self, meter: tasks.Meter, clients: list[tasks.Data]) -> None:
        self._meter, self._clients = meter, clients

    def after_central_iteration(
        self, aggregate_metrics: Metrics, model: PyTorchModel, *, central_iteration: int
    ) -> tuple[bool, Metrics]:
        """A round is over."""
        goes_on = True
        if central_iteration == 0:
            arrays = [each.detach().numpy().T for each in model.pytorch_model.parameters()]
            self._meter.first(arrays, self._clients)
        else:
            goes_on = self._meter.further()
        if others or RANK:
            votes = torch.tensor([float(goes_on)])
            torch.distributed.broadcast(votes, 0)
            goes_on = bool(votes.item())
        return not goes_on, Metrics()


def main() -> None:
    """All rounds."""
    torch.set_num_threads(1)
    np.random.seed(0)
    clients = tasks.data(task)
    sets = [
        Dataset(raw_data=[torch.from_numpy(each.x), torch.from_numpy(each.y)], user_id=str(number))
        for number, each in enumerate(clients)
    ]
    ids = list(range(task.clients))
    population = FederatedDataset(lambda number: sets[number % len(sets)], get_user_sampler("minimize_reuse", ids))
    network_ = Network()
    model = PyTorchModel(network_, torch.optim.SGD, torch.optim.SGD(network_.parameters(), lr=1.0))
    meter = tasks.Meter(task, {"pfl": version("pfl"), "torch": torch.__version__})
    FederatedAveraging().run(
        NNAlgorithmParams(
            central_num_iterations=MANY,
            evaluation_frequency=MANY,
            train_cohort_size=task.clients,
            val_cohort_size=None,
        ),
        SimulatedBackend(population, population),
        model,
        NNTrainHyperParams(local_num_epochs=1, local_learning_rate=tasks.RATE, local_batch_size=task.batch),
        callbacks=[Watch(meter, clients)],
        send_metrics_to_platform=False,
    )
    if RANK == 0:
        meter.tell()
    for other in others:
        other.wait()


main()

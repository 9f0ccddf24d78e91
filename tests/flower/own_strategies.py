"""Strategies as a user may write them, well and badly: `flwr:own_strategies:Decaying` in a job."""

import sys
from collections import deque

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord
from flwr.serverapp.strategy import FedAvg


class Decaying(FedAvg):
    """Tells the devices a learning rate that becomes smaller, and remembers in many ways."""

    def __init__(self, *, rate: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.rate = rate
        self.seen: list[tuple[int, float]] = []
        self.by_node: dict[int, np.ndarray] = {}
        self.last: ArrayRecord | None = None

    def configure_train(self, server_round, arrays, config, grid):
        config["learning-rate"] = self.rate / server_round
        return super().configure_train(server_round, arrays, config, grid)

    def aggregate_train(self, server_round, replies):
        for reply in replies:
            metrics = reply.content["metrics"]
            self.seen.append((server_round, float(metrics["num-examples"])))
            self.by_node[reply.metadata.src_node_id] = np.float32(server_round)
        self.last, metrics = super().aggregate_train(server_round, replies)
        return self.last, metrics


class Backwards(FedAvg):
    """Gives float64, in another order."""

    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        items = reversed(list(arrays.items()))
        return ArrayRecord({key: Array(array.numpy().astype(np.float64)) for key, array in items}), metrics


class Renaming(FedAvg):
    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        return ArrayRecord({f"my.{key}": array for key, array in arrays.items()}), metrics


class Transposing(FedAvg):
    def aggregate_train(self, server_round, replies):
        arrays, metrics = super().aggregate_train(server_round, replies)
        return ArrayRecord({key: Array(array.numpy().T.copy()) for key, array in arrays.items()}), metrics


class Failing(FedAvg):
    def aggregate_train(self, server_round, replies):
        raise KeyError("gone")


class Patient(FedAvg):
    """Waits for more nodes than there can be."""

    def configure_train(self, server_round, arrays, config, grid):
        while len(list(grid.get_node_ids())) < 1000:
            pass
        return []


class Talking(FedAvg):
    """Sends messages of its own."""

    def configure_train(self, server_round, arrays, config, grid):
        return grid.send_and_receive([])


class Telling(FedAvg):
    """Tells the devices whatever the options say."""

    def __init__(self, key: str, value: float) -> None:
        super().__init__()
        self.key, self.value = key, value

    def configure_train(self, server_round, arrays, config, grid):
        config[self.key] = self.value
        return super().configure_train(server_round, arrays, config, grid)


class Uneven(FedAvg):
    """Tells each node something else."""

    def configure_train(self, server_round, arrays, config, grid):
        messages = list(super().configure_train(server_round, arrays, config, grid))
        for number, message in enumerate(messages):
            message.content = message.content.copy()
            message.content["config"] = ConfigRecord({"learning-rate": 0.1 + number})
        return messages


class Secretive(FedAvg):
    """Its constructor keeps what cannot be written down."""

    def __init__(self) -> None:
        super().__init__()
        self.window = deque(maxlen=3)


class Later(FedAvg):
    """The same, but not at once."""

    def aggregate_train(self, server_round, replies):
        self.window = deque(maxlen=3)
        return super().aggregate_train(server_round, replies)


class Broken(FedAvg):
    def __init__(self) -> None:
        raise RuntimeError("no licence")


class Leaving(FedAvg):
    def __init__(self) -> None:
        sys.exit("no licence")


class Ending(FedAvg):
    def aggregate_train(self, server_round, replies):
        sys.exit(3)


class Slotted(FedAvg):
    """Remembers where nobody looks."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

"""Flower's simulation engine on a Ray of two processors, with a numpy client.

The server is the least that a ServerApp can be: it sends the arrays to every node, and takes the mean of what comes
back; Flower's own FedAvg does more. The setting has the number of actors, how often replies are asked for, and whether
the client trains.
"""

import logging
import os
import sys
import tempfile
import time

os.environ |= {"FLWR_TELEMETRY_ENABLED": "0", "RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}

import flower_client
import flwr
import numpy as np
import ray
import task as tasks
from flwr.app import ArrayRecord, Context, Message, RecordDict
from flwr.serverapp import Grid, ServerApp
from flwr.simulation import run_simulation
from task import Array

CPUS = 2
task = tasks.from_arguments()
ACTORS, INTERVAL_S = int(task.setting.split()[0]), float(task.setting.split()[2])
server = ServerApp()


@server.main()
def main(grid: Grid, context: Context) -> None:
    """All rounds."""
    clients = tasks.data(task)
    arrays = tasks.initial(task)
    while len(nodes := list(grid.get_node_ids())) < task.clients:  # they are registered meanwhile
        time.sleep(0.01)
    grid.pull_interval = INTERVAL_S  # of the grid that simulations have
    meter = tasks.Meter(task, {"flwr": flwr.__version__, "ray": ray.__version__})
    arrays = a_round(grid, nodes, arrays)
    meter.first(arrays, clients)
    is_time = True
    while is_time:
        arrays = a_round(grid, nodes, arrays)
        is_time = meter.further()
    meter.tell()


def a_round(grid: Grid, nodes: list[int], arrays: list[Array]) -> list[Array]:
    """The mean of what all nodes make of `arrays`."""
    content = RecordDict({"arrays": ArrayRecord(arrays)})
    replies = grid.send_and_receive([Message(content, node, "train") for node in nodes])
    totals = [np.zeros_like(array) for array in arrays]
    for reply in replies:
        for total, array in zip(totals, reply.content["arrays"].to_numpy_ndarrays(), strict=True):
            total += array
    return [total / np.float32(len(nodes)) for total in totals]


if __name__ == "__main__":
    logging.getLogger("flwr").setLevel(logging.ERROR)
    os.environ[flower_client.TASK] = sys.argv[1]
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as directory:
        resources = {"num_cpus": CPUS / ACTORS, "num_gpus": 0.0}
        init = {"num_cpus": CPUS, "_temp_dir": directory, "log_to_driver": False, "logging_level": logging.ERROR}
        backend = {"client_resources": resources, "init_args": init}
        run_simulation(server, flower_client.app, num_supernodes=task.clients, backend_config=backend)

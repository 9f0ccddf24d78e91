"""The app that Flower's virtual clients run; a module of its own, so that actors import it once and get it by name."""

import functools
import json
import os

import numpy as np
import sgd
import task as tasks
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from task import Data, Task

TASK = "FEDLOOM_BENCHMARK_TASK"
"""Environment variable with the task as JSON."""
NOTHING = "nothing"
"""In a setting: the client sends back what it has got."""

app = ClientApp()


@functools.cache
def _data() -> tuple[Task, list[Data]]:
    task = Task(**json.loads(os.environ[TASK]))
    return task, tasks.data(task)


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round of local training."""
    task, clients = _data()
    arrays = message.content["arrays"]
    if NOTHING not in task.setting:
        number = int(context.node_config["partition-id"])
        new = sgd.epoch(task, arrays.to_numpy_ndarrays(), clients[number % len(clients)], np.random.default_rng(number))
        arrays = ArrayRecord(new)
    metrics = MetricRecord({"num-examples": task.samples})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)

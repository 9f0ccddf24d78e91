"""The device's side: train on the arrays of the NPZ file that the node's configuration names."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from peer_app import mlp
from peer_app.events import record

app = ClientApp()


@app.train()
def train(message: Message, context: Context) -> Message:
    """One round of local training."""
    run, node = context.run_config, context.node_config
    record(str(run["events"]), "task")
    with np.load(str(node["data"])) as data:
        X, y = data["x"], data["y"]
    # A received array's memory is read-only.
    arrays = [array.copy() for array in message.content["arrays"].to_numpy_ndarrays()]
    mlp.train(arrays, X, y, int(run["epochs"]), int(run["batch-size"]), float(run["learning-rate"]))
    metrics = MetricRecord({"num-examples": len(X)})
    return Message(RecordDict({"arrays": ArrayRecord(arrays), "metrics": metrics}), reply_to=message)

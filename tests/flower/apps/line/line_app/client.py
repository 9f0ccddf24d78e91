"""A ClientApp as Flower's quickstart has it: a line through this node's points, by gradient descent."""

import numpy as np
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


def points(context: Context) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(int(context.node_config["partition-id"]))
    x = rng.normal(size=(20 + 10 * int(context.node_config["partition-id"]), 3))
    return x, x @ np.array([1.0, -2.0, 0.5]) + 3.0


@app.train()
def train(message: Message, context: Context) -> Message:
    weights, bias = message.content["arrays"].to_numpy_ndarrays()
    x, y = points(context)
    lr = float(context.run_config["learning-rate"]) / int(message.content["config"]["server-round"])
    for _ in range(5):
        error = x @ weights + bias[0] - y
        weights, bias = weights - lr * error @ x / len(y), bias - np.float32(lr * error.mean())
    seen = context.state["seen"]["trained"] + 1 if "seen" in context.state else 1
    context.state["seen"] = MetricRecord({"trained": seen})
    metrics = MetricRecord({"num-examples": len(y), "trained": seen})
    return Message(RecordDict({"arrays": ArrayRecord([weights, bias]), "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    weights, bias = message.content["arrays"].to_numpy_ndarrays()
    x, y = points(context)
    metrics = MetricRecord({"num-examples": len(y), "mse": float(np.mean((x @ weights + bias[0] - y) ** 2))})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)

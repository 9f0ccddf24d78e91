"""The nodes' side: train, and evaluate on points that were kept back."""

from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from flower_quickstart import task

app = ClientApp()
HELD_BACK = 60


@app.train()
def train(message: Message, context: Context) -> Message:
    """Train the model that came, on this node's points."""
    x, labels = _data(context)
    config, run = message.content["config"], context.run_config
    model = task.train(
        _model(message),
        x[HELD_BACK:],
        labels[HELD_BACK:],
        int(run["local-epochs"]),
        float(config["learning-rate"]),
        seed=int(config["server-round"]),
    )
    metrics = MetricRecord({"num-examples": len(x) - HELD_BACK})
    arrays = ArrayRecord({name: Array(values) for name, values in model.items()})
    return Message(RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """How good is the model that came, on the points that this node never trains on?"""
    x, labels = _data(context)
    loss, accuracy = task.evaluate(_model(message), x[:HELD_BACK], labels[:HELD_BACK])
    metrics = MetricRecord({"num-examples": HELD_BACK, "loss": loss, "accuracy": accuracy})
    return Message(RecordDict({"metrics": metrics}), reply_to=message)


def _data(context: Context):
    return task.load_data(int(context.node_config["partition-id"]))


def _model(message: Message):
    return {name: array.numpy() for name, array in message.content["arrays"].items()}

"""Our updates as the messages that a strategy of Flower expects, and its arrays as our weights again."""

from collections.abc import Iterable

import numpy as np
from flwr.app import Array, ArrayRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy
from flwr.supercore.task_identity import TaskIdentity

from fedloom.flower.nodes import node_of
from fedloom.learning.layout import Layout, Vector
from strategies.base import ClientUpdate, FusionError, Updates, check_finite

RECORD = "arrays"


def have_identity() -> None:
    """Let messages be made outside of Flower's own processes: each carries the task of the process that makes it."""
    for name in ("task_id", "run_id", "node_id"):
        try:
            getattr(TaskIdentity, name)
        except RuntimeError:
            setattr(TaskIdentity, name, 0)


def to_arrays(weights: Vector, layout: Layout) -> ArrayRecord:
    """All weights by name, in the model's order."""
    return ArrayRecord(dict(zip(layout.names, map(Array, layout.views(weights)), strict=True)))


def to_replies(weights: Vector, updates: Updates, layout: Layout, strategy: Strategy) -> list[Message]:
    """One for each update, in their order, each with a model and records of its own; that is all n models in memory."""
    with_loss = all(np.isfinite(update.loss) for update in updates)
    return [_reply(update, to_arrays(weights + update.delta, layout), strategy, with_loss) for update in updates]


def _reply(update: ClientUpdate, arrays: ArrayRecord, strategy: Strategy, with_loss: bool) -> Message:
    metrics = MetricRecord({getattr(strategy, "weighted_by_key", "num-examples"): update.samples})
    if with_loss:
        metrics[getattr(strategy, "train_loss_key", "train_loss")] = float(update.loss)
    asked = Message(RecordDict(), node_of(update.client), MessageType.TRAIN)
    return Message(RecordDict({RECORD: arrays, "metrics": metrics}), reply_to=asked)


def to_weights(arrays: ArrayRecord | None, layout: Layout) -> Vector:
    """The strategy's new model, whatever the order and the precision of its arrays.

    Raises:
        FusionError: there is none, or it has not the names and shapes of ours, or is not finite.
    """
    if arrays is None:
        raise FusionError("the strategy of Flower made no model of these updates; its log line says why")
    if set(arrays) != set(layout.names):
        raise FusionError(f"the strategy of Flower gave arrays {sorted(arrays)}, not {sorted(layout.names)}")
    weights = np.empty(layout.size, np.float32)
    for name, view in zip(layout.names, layout.views(weights), strict=True):
        array = arrays[name].numpy()
        if array.shape != view.shape or array.dtype.kind not in "iuf":
            problem = f"as {array.dtype} {array.shape}, where {view.shape} floats belong"
            raise FusionError(f"the strategy of Flower gave {name!r} {problem}")
        view[...] = array
    check_finite(weights)
    return weights


def config_of(instructions: Iterable[Message], arrays: ArrayRecord) -> dict[str, object]:
    """What the strategy tells the devices beside the model, which is the same for all.

    Raises:
        FusionError: it tells each something else, or sends other arrays than the model.
    """
    told: list[dict[str, object]] = []
    for message in instructions:
        config = {key: value for record in message.content.config_records.values() for key, value in record.items()}
        if (told and config != told[0]) or any(record != arrays for record in message.content.array_records.values()):
            raise FusionError("the strategy of Flower sends each device something of its own; a job sends all the same")
        told.append(config)
    return told[0] if told else {}

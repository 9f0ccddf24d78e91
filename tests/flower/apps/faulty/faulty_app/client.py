"""A ClientApp that misbehaves as its node's configuration says."""

import os
import time

import numpy as np
from flwr.app import Array, ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

app = ClientApp()


@app.query("start")
def start(message: Message, context: Context) -> Message:
    """Its process is there: what comes next does not wait for that."""
    return Message(RecordDict(), reply_to=message)


@app.query()
def query(message: Message, context: Context) -> Message:
    mode = str(context.node_config["mode"])
    if mode == "raises":
        raise ValueError("what the data hold")
    if mode == "dies":
        os._exit(1)
    if mode == "slow":
        time.sleep(600)
    if mode == "hoards":
        context.state = RecordDict({str(number): MetricRecord({"n": number}) for number in range(65)})
    if mode == "long":
        context.state["x" * 301] = MetricRecord({"n": 1})
    values = np.array([np.nan if mode == "nan" else 1.0])
    return Message(RecordDict({"arrays": ArrayRecord({"w": Array(values)})}), reply_to=message)

"""examples/flower_quickstart learns: node by node in this process, as Flower would run it, but without its services."""

import re
import tomllib
from collections.abc import Iterable

import numpy as np
import pytest
import tracked
from flwr.app import Context, Message, RecordDict
from peer_loop import AnsweringGrid

from strategies.flower.messages import have_identity

APP = tracked.ROOT / "examples" / "flower_quickstart"
NODES = 2


class AppGrid(AnsweringGrid):
    """Its nodes run a ClientApp."""

    def __init__(self, client, settings):
        self._nodes = NODES
        self._client = client
        self._contexts = [Context(0, node, {"partition-id": node}, RecordDict(), settings) for node in range(NODES)]

    def get_node_ids(self) -> Iterable[int]:
        return range(NODES)

    def send_and_receive(self, messages, *, timeout=None) -> list[Message]:
        return [self._client(message, self._contexts[message.metadata.dst_node_id]) for message in messages]


def test_it_learns(monkeypatch, tmp_path, capsys):
    monkeypatch.syspath_prepend(APP)
    from flower_quickstart import client_app, server_app, task

    have_identity()
    settings = tomllib.loads((APP / "pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    settings |= {"min-nodes": NODES, "final-model": str(tmp_path / "model.npz")}
    server_app.app(grid=AppGrid(client_app.app, settings), context=Context(0, 0, {}, RecordDict(), settings))
    with np.load(tmp_path / "model.npz") as stored:
        model = dict(stored)
    assert {name: values.dtype for name, values in model.items()} == dict.fromkeys(["weight", "bias"], np.float32)
    x, labels = task.load_data(partition=99)
    loss, accuracy = task.evaluate(model, x, labels)
    assert accuracy > 0.9
    assert loss < task.evaluate(task.initial_model(), x, labels)[0] == pytest.approx(np.log(3))
    printed = [line for line in capsys.readouterr().out.splitlines() if line.startswith("round ")]
    assert printed == re.findall(r"^round .*$", (APP / "README.md").read_text(), re.MULTILINE)

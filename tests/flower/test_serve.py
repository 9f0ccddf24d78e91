"""Unmodified Flower apps over MQTT, on real processes: what they compute, and what becomes of nodes that fail."""

import importlib
import json
import signal

import numpy as np
import pytest
from fleet import APPS, FlowerFleet
from in_process import run

from aggregator.flower.app import load
from aggregator.notices import RoundOpened
from fedloom.flower.nodes import node_of
from simulation.broker import find_mosquitto

pytestmark = [
    pytest.mark.broker,
    pytest.mark.slow,
    pytest.mark.skipif(find_mosquitto() is None, reason="mosquitto is not installed, and amqtt cannot be beside flwr"),
]
PATIENCE_S = 90.0
NODES = [{"partition-id": number} for number in range(3)]
SETTINGS = {"num-server-rounds": 3, "learning-rate": 0.1}


def device(number):
    """The id that the fleet gives its devices, counted from 1."""
    return number.to_bytes(16, "big")


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """The same app in one process."""
    result = tmp_path_factory.mktemp("peer") / "result.npz"
    app = load(APPS / "line", {})
    client = importlib.import_module("line_app.client")
    run(app.server, client.app, NODES, {**SETTINGS, "result": str(result)})
    return np.load(result)


def same(result, expected):
    for name in ("weights", "bias", "mse"):
        np.testing.assert_allclose(result[name], expected[name], rtol=0, atol=1e-6)
    assert result["bias"].dtype == np.float32
    for each in (result, expected):
        assert each["trained"] == pytest.approx([1, 2, 3])  # a mean over the nodes


def test_an_app_learns_the_same_as_in_one_process_though_server_and_device_are_killed(tmp_path, expected):
    """Each node has trained once in each round: its context is that which its last answer left.

    The server dies in the third of six rounds and is told again what it knew; a device dies between two rounds.
    """
    result, rounds = tmp_path / "result.npz", []
    with FlowerFleet(tmp_path / "fleet", APPS / "line", NODES, {**SETTINGS, "result": str(result)}) as fleet:
        for notice in fleet.notices(PATIENCE_S):
            if isinstance(notice, RoundOpened):
                rounds.append(notice.round)
                if notice.round == 3:
                    break
        fleet.restart_server()
        for notice in fleet.notices(PATIENCE_S):
            if isinstance(notice, RoundOpened):
                rounds.append(notice.round)
                if notice.round == 5:
                    fleet.restart_device(0, signal.SIGKILL)
        fleet.wait()
    assert rounds == [1, 2, 3, 4, 5, 6]
    same(np.load(result), expected)


def test_nodes_that_fail_become_errors_and_nobody_waits_for_a_slow_one(tmp_path):
    result = tmp_path / "said.json"
    modes = ["fine", "nan", "raises", "dies", "slow"]
    nodes = [*({"mode": mode} for mode in modes), None]
    settings = {"result": str(result), "nodes": len(nodes)}
    with FlowerFleet(tmp_path / "fleet", APPS / "faulty", nodes, settings) as fleet:
        for _ in fleet.notices(PATIENCE_S):
            pass
    said = json.loads(result.read_text())
    by_mode = {mode: said.get(str(node_of(device(number)))) for number, mode in enumerate([*modes, "none"], 1)}
    assert by_mode["fine"] == "fine"
    assert by_mode["nan"] == [0, "the app's reply cannot be sent: non_finite: arrays.w"]
    assert by_mode["raises"] == [2, "the ClientApp has failed: ValueError; the device's log says more"]
    assert by_mode["dies"] == [8, "the app's process has ended"]
    assert by_mode["slow"] is None
    assert by_mode["none"][0] == 5
    assert "[flower]" in by_mode["none"][1]

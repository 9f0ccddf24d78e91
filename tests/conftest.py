"""Brokers for every room, started once a session on ephemeral ports; tests use client ids and topics of their own."""

from collections.abc import Iterator

import pytest

from simulation.broker import Broker, find_mosquitto, start_broker


@pytest.fixture(scope="session")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Mosquitto (MQTT 5 and 3.1.1), or a skip where it is not installed."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed")
    with start_broker(tmp_path_factory.mktemp("mosquitto"), "mosquitto") as broker:
        yield broker


@pytest.fixture(scope="session")
def amqtt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """amqtt (MQTT 3.1.1)."""
    with start_broker(tmp_path_factory.mktemp("amqtt"), "amqtt") as broker:
        yield broker


@pytest.fixture(params=["mosquitto", "amqtt"])
def broker(request: pytest.FixtureRequest) -> Broker:
    """Each broker in turn; shared by all tests, so never kill it."""
    found: Broker = request.getfixturevalue(request.param)
    return found

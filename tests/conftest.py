"""For every room: data made from a seed, and brokers.

Brokers are started once a session on ephemeral ports; tests use client ids and topics of their own.
"""

import logging
from collections.abc import Callable, Iterator

import hypothesis
import numpy as np
import pytest
from sim import engines

from fedloom.learning.dataset import Dataset
from fedloom.learning.plan import Loss
from fedloom.learning.spec import ModelSpec
from simulation.broker import Broker, find_mosquitto, start_broker

hypothesis.settings.register_profile("fedloom", deadline=None)  # a machine under load is slow, and no defect
hypothesis.settings.load_profile("fedloom")

MakeData = Callable[..., Dataset]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Long files first: a worker that began one last would keep the others waiting."""
    long = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(autouse=True)
def _own_logging() -> Iterator[None]:
    """Commands that are run in the test's process set the root logger up; the next test must not hear of it."""
    root = logging.getLogger()
    level, handlers = root.level, root.handlers[:]
    yield
    root.setLevel(level)
    root.handlers[:] = handlers


@pytest.fixture(autouse=True, scope="session")
def _shared_dialect() -> Iterator[None]:
    """Tests of the aggregator open hundreds of databases."""
    with engines.sharing():
        yield


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20240229)


@pytest.fixture
def make_data(rng: np.random.Generator) -> MakeData:
    """`make_data(spec, loss, samples)`: random features, targets that the loss can take."""

    def make(spec: ModelSpec, loss: Loss, samples: int) -> Dataset:
        x = rng.normal(size=(samples, spec.inputs)).astype(np.float32)
        if loss == "cross_entropy":
            return Dataset(x, rng.integers(0, spec.outputs, samples))
        if loss == "binary_cross_entropy":
            return Dataset(x, rng.integers(0, 2, samples))
        return Dataset(x, rng.normal(size=(samples, spec.outputs)).astype(np.float32))

    return make


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

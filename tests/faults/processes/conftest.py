"""One broker for all, wiped before each test, and one federation that each test gets a copy of."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from process_fleet import AGGREGATOR, DEVICES, Fleet, Model

from aggregator.enrolment.provision import new_device
from aggregator.keys import init
from fedloom.trust.tokens import Broker as Address
from fedloom.trust.tokens import TlsMode
from simulation.broker import Broker, start_broker

JOB = """\
name = "faults"
seed = 5
[model]
inputs = 2
outputs = 1
[data]
features = ["a", "b"]
target = "y"
[training]
loss = "mse"
batch_size = 8
local_epochs = 2
learning_rate = 0.05
[personal]
method = "ditto"
[rounds]
count = 2
devices = 3
deadline_s = 30.0
"""
MakeFleet = Callable[..., Fleet]


@pytest.fixture(scope="session")
def own_broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Mosquitto where it is installed, else amqtt; it may be killed, as nobody else uses it."""
    with start_broker(tmp_path_factory.mktemp("faults-broker")) as broker:
        yield broker


@pytest.fixture(scope="session")
def provisioned(tmp_path_factory: pytest.TempPathFactory, own_broker: Broker) -> Path:
    """A federation that has never run."""
    base = tmp_path_factory.mktemp("faults-federation")
    (base / AGGREGATOR).mkdir()
    (base / AGGREGATOR / "job.toml").write_text(JOB)
    config = f'job = "job.toml"\n[broker]\nhost = "{own_broker.host}"\nport = {own_broker.port}\n'
    (base / AGGREGATOR / "aggregator.toml").write_text(config)
    state = base / AGGREGATOR / "state"
    init(state, "x25519")
    address = Address(own_broker.host, own_broker.port, TlsMode.NONE)
    for number, name in enumerate(DEVICES, 1):
        new_device(state, name, base / name, broker=address, device_id=number.to_bytes(16, "big"))
        x = np.random.default_rng(number).normal(size=(40, 2))
        y = x @ [1.5, -0.5] + 0.25
        np.savetxt(base / name / "data.csv", np.column_stack((x, y)), delimiter=",", header="a,b,y", comments="")
    return base


@pytest.fixture
def make_fleet(tmp_path: Path, provisioned: Path, own_broker: Broker) -> Iterator[MakeFleet]:
    """`make_fleet(count=2, …)`: a copy, whose job file has these values of [rounds] instead."""
    own_broker.restart()
    made: list[Fleet] = []

    def make(**rounds: object) -> Fleet:
        directory = tmp_path / "fleet"
        shutil.copytree(provisioned, directory)
        job = directory / AGGREGATOR / "job.toml"
        lines = [line for line in JOB.splitlines() if line.partition(" ")[0] not in rounds]
        job.write_text("\n".join([*lines, *(f"{key} = {value}" for key, value in rounds.items()), ""]))
        made.append(Fleet(directory, own_broker))
        return made[-1]

    yield make
    for fleet in made:
        fleet.stop()


@pytest.fixture
def fleet(make_fleet: MakeFleet) -> Fleet:
    """The job as it is."""
    return make_fleet()


@pytest.fixture(scope="session")
def calm_fleet(tmp_path_factory: pytest.TempPathFactory, provisioned: Path, own_broker: Broker) -> Fleet:
    """After a run in which nothing happens."""
    directory = tmp_path_factory.mktemp("undisturbed") / "fleet"
    shutil.copytree(provisioned, directory)
    own_broker.restart()
    fleet = Fleet(directory, own_broker)
    try:
        fleet.start()
        fleet.finish()
    finally:
        fleet.stop()
    own_broker.restart()
    assert fleet.deaths == []
    return fleet


@pytest.fixture(scope="session")
def undisturbed(calm_fleet: Fleet) -> list[Model]:
    """The models of a run in which nothing happens."""
    return calm_fleet.models()

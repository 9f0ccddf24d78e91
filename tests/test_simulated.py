"""What `[simulation]` may not ask for."""

import msgspec
import pytest

from fedloom.errors import ConfigError
from fedloom.simulated import OPTIONS, Partition, Simulation, check_simulation


def refused(simulation: dict[str, object]) -> str:
    with pytest.raises(ConfigError) as caught:
        check_simulation(msgspec.convert(simulation, Simulation), "job.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("simulation", "message"),
    [
        (
            {"dataset": "digits", "partition": {"method": "shards", "alpha": 0.1}},
            "job.toml: simulation.partition.alpha: is no option of method 'shards'; leave it out, or set "
            "simulation.partition.method to 'dirichlet' or 'quantity'",
        ),
        ({"dataset": "digits", "partition": {"method": "features"}}, "simulation.partition.method: says that features"),
        ({"dataset": "a.csv", "partition": {"method": "key"}}, "simulation.partition.key: method 'key' needs the name"),
        (
            {"dataset": "a.csv", "clients": 3, "partition": {"method": "key", "key": "user"}},
            "simulation.clients: is what the key column says",
        ),
        ({"partition": {"method": "shards"}}, "simulation.partition: each data file is a client already"),
        (
            {"dataset": "digits", "partition": {"method": "quantity", "alpha": 1e-7}},
            "simulation.partition.alpha: 1e-07 is next to nothing; set it to 0.001",
        ),
        ({"samples": 20}, "simulation.samples: is of no use where each data file is a client"),
    ],
)
def test_what_does_not_go_together_is_refused(simulation, message) -> None:
    assert message in refused(simulation)


def test_every_option_of_a_partition_says_whose_it_is() -> None:
    assert OPTIONS.keys() == {field.name for field in msgspec.structs.fields(Partition)} - {"method"}


def test_defaults_stand_in_for_zero() -> None:
    partition = Partition()
    assert (partition.concentration, partition.fewest, partition.pieces) == (0.5, 1, 2)

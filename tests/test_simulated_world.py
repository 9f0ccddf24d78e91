"""What a simulated fleet is like is refused where it cannot be."""

import pytest

from fedloom import config
from fedloom.errors import ConfigError
from fedloom.simulated_world import Attack, Availability, Devices, check_devices


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (Availability("trace"), "availability.trace: pattern 'trace' needs it; name a CSV file"),
        (Availability("diurnal", trace="a.csv"), "pattern 'diurnal' has none; remove it"),
        (
            Availability("diurnal", share=0.9, jitter_h=2.0),
            r"days of 21.6 h that move by ±2 h .* set it to 1.2 at most",
        ),
    ],
)
def test_times_that_cannot_be(times, message):
    with pytest.raises(ConfigError, match=message):
        check_devices(Devices(availability=times), "job.toml")


@pytest.mark.parametrize(
    "devices",
    [
        Devices(),
        Devices(availability=Availability("trace", trace="a.csv")),
        Devices(availability=Availability("diurnal", share=0.9, jitter_h=1.2)),
        Devices(availability=Availability("diurnal", share=1.0)),
    ],
)
def test_times_that_can(devices):
    check_devices(devices, "job.toml")


@pytest.mark.parametrize(
    ("tree", "kind", "message"),
    [
        ({"kind": "sing_flip"}, Attack, "kind"),
        ({"kind": "noise", "share": 1.0}, Attack, "share: 1.0"),
        ({"compute": {}}, Devices, "weights_per_s"),
        ({"compute": {"weights_per_s": 0.0}}, Devices, "weights_per_s: 0.0"),
        ({"drop": 0.1}, Devices, "did you mean 'drops'"),
    ],
)
def test_keys_that_are_wrong(tree, kind, message):
    with pytest.raises(ConfigError, match=message):
        config.convert(tree, kind, "job.toml")

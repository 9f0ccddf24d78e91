"""The aggregator's own test rig, with devices that sign real messages; and a round in which there is time to attack."""

import importlib.util
from pathlib import Path
from types import ModuleType

_RIG = Path(__file__).resolve().parents[2] / "aggregator" / "conftest.py"


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("aggregator_rig", _RIG)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_rig = _load()
FakeDevice, Rig, job_text = _rig.FakeDevice, _rig.Rig, _rig.job_text

INPUTS = 2047
"""A model of 2,048 weights: two blocks of int8, and an update that needs no frames."""
HONEST = 3


def open_rig(directory, hostile=1, suite="x25519", **settings):
    """A rig whose first round is open, for a week: the first devices are honest, the others are not."""
    devices = HONEST + hostile
    chosen = {"inputs": INPUTS, "devices": devices, "count": 1, "min_updates": HONEST, "evaluate": 0.0} | settings
    rig = Rig(directory, job_text(**chosen).replace("deadline_s = 60.0", "deadline_s = 604800.0"), devices, suite)
    rig.boot()
    rig.ready()
    rig.work()
    return rig


def intake_of(rig):
    """What takes the updates of the rig's current round."""
    return rig.parts.core.coordinator._intake

"""SIGKILL and EIO at each failpoint, a new start: the job ends with the same models as if nothing had happened."""

import signal
from collections.abc import Callable

import pytest
from process_fleet import AGGREGATOR, DEVICES, Death, Fleet, Model, needs_patience

from fedloom.failpoints import NAMES

JOINING = ("device.keys-written", "device.enrolment-sent")
IN_A_JOB = [name for name in NAMES if name not in JOINING]
"""A device that ends by itself says goodbye: a round that opens before it is back opens without it."""
ON_DISK = [
    "device.manifest-verified",
    "device.trained",
    "device.outbox-stored",
    "device.receipt-came",
    "device.model-renamed",
    "aggregator.round-committed",
    "aggregator.answer-committed",
    "aggregator.quorum",
    "aggregator.fused",
    "aggregator.model-committed",
    "aggregator.log-checkpoint",
]
pytestmark = [pytest.mark.broker, pytest.mark.slow]


def victim_of(name: str, fleet: Fleet) -> str:
    if name.startswith("aggregator"):
        return AGGREGATOR
    needs_patience(fleet.broker)
    return DEVICES[1]


@pytest.mark.parametrize("name", IN_A_JOB)
def test_killed_at(name: str, fleet: Fleet, undisturbed: list[Model], calm_fleet: Fleet) -> None:
    victim = victim_of(name, fleet)
    fleet.start({victim: [f"{name}:kill"]})
    fleet.finish()
    assert fleet.deaths == [Death(victim, -signal.SIGKILL)]
    assert fleet.models() == undisturbed
    assert fleet.own_models() == calm_fleet.own_models()


@pytest.mark.parametrize("name", ON_DISK)
def test_an_error_of_the_disk_at(name: str, make_fleet: Callable[..., Fleet], undisturbed: list[Model]) -> None:
    """The process says so and ends; its service manager starts it again."""
    fleet = make_fleet(min_updates=len(DEVICES))  # a device says goodbye, and would not be waited for
    victim = victim_of(name, fleet)
    fleet.start({victim: [f"{name}:error"]})
    fleet.finish()
    assert fleet.deaths == [Death(victim, 1)]
    errors = [line for line in fleet.log(victim).splitlines() if ": error: " in line]
    assert len(errors) == 1
    assert "Input/output error" in errors[0]
    assert "Traceback" not in fleet.log(victim)
    assert fleet.models() == undisturbed


@pytest.mark.parametrize("name", [name for name in IN_A_JOB if name not in ON_DISK])
def test_an_error_that_nobody_expects_at(name: str, make_fleet: Callable[..., Fleet]) -> None:
    """The process ends, and its log says where; who is started again ends the job.

    A device says goodbye, so that rounds would go on without it, and the aggregator would end when all were gone.
    """
    fleet = make_fleet(min_updates=len(DEVICES))
    victim = victim_of(name, fleet)
    fleet.start({victim: [f"{name}:error"]})
    fleet.finish()
    assert fleet.deaths == [Death(victim, 1)]
    assert f"failpoint {name}" in fleet.log(victim)
    assert fleet.models()

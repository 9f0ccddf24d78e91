"""What a round takes of the devices that are invited: seconds, bytes, joules; and who of them gets lost."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from fedloom.learning.plan import TrainPlan
from fedloom.simulated_world import Devices
from simulation.world.draws import Draws, Ids, Mask, Numbers, Stream

_NEVER_BEGAN_S = -1.0


class Load(NamedTuple):
    """What a job asks of a device in a round."""

    weights: int
    """Of the model that it trains."""
    down_bytes: int
    """Of the model on its way to a device."""
    up_bytes: int
    """Of an update."""
    samples: Callable[[Ids], NDArray[np.int64]]
    """(c,) that devices train on in a round, each pass counted: see `samples_trained`."""


class Used(NamedTuple):
    """What devices have spent, (c,) each."""

    joules: Numbers
    down_bytes: Numbers
    up_bytes: Numbers


class Work(NamedTuple):
    """A round's work of the devices that are invited, (c,) each; seconds count from when it begins."""

    down_s: Numbers
    train_s: Numbers
    up_s: Numbers
    samples: Numbers
    fails_s: Numbers
    """When a device is lost by chance; ∞: never, below 0: before it has begun."""
    stays_s: Numbers
    """When it leaves; ∞: never."""
    ties: Numbers
    """Of two who answer at the same time, the one with the smaller number here comes first: else it were always one."""
    load: Load
    devices: Devices

    @property
    def gone_s(self) -> Numbers:
        """When a device is lost to the round, having answered or not."""
        return np.minimum(self.fails_s, self.stays_s)

    @property
    def ends_s(self) -> Numbers:
        """When a device that is not lost has answered."""
        return self.down_s + self.train_s + self.up_s

    @property
    def answers_s(self) -> Numbers:
        """When a device has answered; ∞ where it is lost before."""
        return np.where(self.ends_s <= self.gone_s, self.ends_s, np.inf)

    @property
    def is_lost(self) -> Mask:
        """Whether it never answers."""
        result: Mask = self.ends_s > self.gone_s
        return result

    def take(self, places: Ids) -> "Work":
        """Of some of the devices."""
        down_s, train_s, up_s, samples, fails_s, stays_s, ties, load, devices = self
        return Work(
            down_s[places],
            train_s[places],
            up_s[places],
            samples[places],
            fails_s[places],
            stays_s[places],
            ties[places],
            load,
            devices,
        )

    def used(self, seconds: float | Numbers) -> Used:
        """By devices that stop after so many seconds, if they have not ended or are gone by then."""
        worked = np.minimum(seconds, self.gone_s)
        began = self.gone_s >= 0.0
        down = _share(worked, 0.0, self.down_s) * began * self.load.down_bytes
        trained = _share(worked, self.down_s, self.train_s) * began * self.samples
        up = _share(worked, self.down_s + self.train_s, self.up_s) * began * self.load.up_bytes
        return Used(self.devices.sample_j * trained + self.devices.byte_j * (down + up), down, up)


class Workshop(NamedTuple):
    """Makes `Work`. Pure."""

    devices: Devices
    load: Load
    draws: Draws

    def full_joules(self, ids: Ids) -> Numbers:
        """(c,) of a round that a device ends."""
        return self.full(ids).joules

    def full(self, ids: Ids) -> Used:
        """What a device has spent that has answered."""
        down, up = (np.full(len(ids), float(size)) for size in (self.load.down_bytes, self.load.up_bytes))
        trained = self.load.samples(ids).astype(np.float64)
        return Used(self.devices.sample_j * trained + self.devices.byte_j * (down + up), down, up)

    def work(self, ids: Ids, stays_s: Numbers, moment: int) -> Work:
        """Of the devices that begin now and are there for so long; `moment` names the round and attempt."""
        samples = self.load.samples(ids).astype(np.float64)
        down_s, train_s, up_s = self._times(ids, samples, moment)
        fails_s = self._fails_s(ids, down_s + train_s + up_s, moment)
        ties = self.draws.uniform(Stream.TIES, ids, moment)
        return Work(down_s, train_s, up_s, samples, fails_s, stays_s, ties, self.load, self.devices)

    def _times(self, ids: Ids, samples: Numbers, moment: int) -> tuple[Numbers, Numbers, Numbers]:
        """Seconds down, at work and up."""
        compute, network, draws = self.devices.compute, self.devices.network, self.draws
        train_s = down_s = up_s = np.zeros(len(ids))
        if compute:
            speed = compute.weights_per_s * draws.log_normal(compute.sigma, Stream.SPEED, ids)
            slower = draws.log_normal(compute.jitter, Stream.SPEED_OF_ROUND, ids, moment)
            train_s = samples * self.load.weights / speed * slower
        if network:
            rate = draws.log_normal(network.sigma, Stream.NETWORK, ids)
            slower = draws.log_normal(network.jitter, Stream.NETWORK_OF_ROUND, ids, moment) / rate
            down_s = network.latency_s + self.load.down_bytes / network.down_bytes_per_s * slower
            up_s = network.latency_s + self.load.up_bytes / network.up_bytes_per_s * slower
        return down_s, train_s, up_s

    def _fails_s(self, ids: Ids, ends_s: Numbers, moment: int) -> Numbers:
        """When a device is lost by chance: at once, at any moment of its work, or never."""
        fails_s = np.full(len(ids), np.inf)
        if self.devices.drops:
            is_lost = self.draws.uniform(Stream.DROPS, ids, moment) < self.devices.drops
            at_s = self.draws.uniform(Stream.DROPS_AT, ids, moment) * ends_s
            fails_s[is_lost] = np.where(ends_s > 0.0, at_s, _NEVER_BEGAN_S)[is_lost]
        if self.devices.ignores:
            fails_s[self.draws.uniform(Stream.IGNORES, ids, moment) < self.devices.ignores] = _NEVER_BEGAN_S
        return fails_s


def samples_trained(plan: TrainPlan, sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """(c,) samples that devices with so many train on in a round, at most: early stopping may end it sooner.

    >>> samples_trained(TrainPlan(loss="mse", batch_size=10, local_epochs=2, max_steps=3), np.array([5, 25, 90]))
    array([10, 25, 30])
    """
    batch = np.maximum(1, np.minimum(sizes, plan.batch_size) if plan.batch_size else sizes)
    an_epoch = np.maximum(1, -(-sizes // batch))
    steps = np.minimum(plan.local_epochs * an_epoch, plan.max_steps or np.iinfo(np.int64).max)
    whole, left = np.divmod(steps, an_epoch)
    samples: NDArray[np.int64] = whole * sizes + np.minimum(left * batch, sizes)
    return samples


def _share(worked: Numbers, begins_s: float | Numbers, takes_s: Numbers) -> Numbers:
    """(c,) how much of a part that takes so long is done; one that takes no time is done when it begins."""
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.clip((worked - begins_s) / takes_s, 0.0, 1.0)
    return np.where(takes_s > 0.0, share, worked >= begins_s)

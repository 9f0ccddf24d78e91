"""What a seed builds: a job, a fleet, and which kinds of fault there are."""

from typing import NamedTuple

import msgspec
import numpy as np

from edge_client.events import Answer, Work
from fedloom.wire.encoding import CODES, encode
from fedloom.wire.messages import Phase, Update
from sim.client import Train
from sim.dice import Dice, Rates

TEN_YEARS_S = 10 * 365.25 * 86_400.0
_JOB = """
name = "line"
seed = 7
[model]
inputs = {inputs}
outputs = 1
[data]
features = ["x"]
target = "y"
standardise = {standardise}
[training]
loss = "mse"
[rounds]
count = {count}
devices = {wanted}
deadline_s = {deadline_s}
quorum = {quorum}
cohort = {cohort}
min_updates = {min_updates}
over_selection = {over_selection}
evaluate = {evaluate}
[update]
encoding = "{encoding}"
share = {share}
chunk_bytes = {chunk_bytes}
max_norm = 1000.0
max_samples = 1000
[cohort]
name = "{rule}"
"""
_ASYNCHRONOUS = """
[asynchronous]
buffer = {buffer}
max_staleness = {max_staleness}
[strategy]
name = "fedbuff"
"""
_VARIATES = """
[strategy]
name = "scaffold"
"""


RULES = ("uniform", "samples", "power-of-choice", "oort")
"""For cohorts that are a part of the devices."""


class Scenario(NamedTuple):
    """Drawn from a seed."""

    devices: int
    wanted: int
    """Devices without which the job does not begin."""
    count: int
    inputs: int
    standardise: bool
    deadline_s: float
    quorum: float
    cohort: float
    over_selection: float
    evaluate: float
    encoding: str
    share: float
    """Of the weights, that are sent where the encoding leaves some out: one."""
    buffer: int
    """Updates that an asynchronous job fuses at once; 0 is a job of rounds."""
    max_staleness: int
    stays: bool
    """Devices stay when the job is done."""
    odd: str
    """What is wrong with the last device: "", "restored", "cloned" or "malicious"."""
    clock_off_s: float
    """Of the first device."""
    chunk_bytes: int
    max_packet_bytes: int
    will_delay_s: float
    chaos_s: float
    """For how long things break."""
    breaks: int
    """Processes that die, and disks that fail, at most."""
    rates: Rates
    rule: str
    """That draws the cohorts."""

    def job(self) -> str:
        """The job file."""
        settings = self._asdict() | {"standardise": str(self.standardise).lower(), "min_updates": min(1, self.buffer)}
        return (_JOB + (_ASYNCHRONOUS if self.buffer else _VARIATES if self.has_variates else "")).format(**settings)

    @property
    def has_variates(self) -> bool:
        """Whether devices remember something of their own: half of the jobs of rounds, drawn with the last wills."""
        return not self.buffer and not self.will_delay_s


def draw(dice: Dice) -> Scenario:
    """The scenario of a seed."""
    devices = 2 + dice.below(4)
    buffer = dice.pick((0, 0, 1, 2))
    odd = dice.pick(("", "", "", "restored", "cloned", "malicious")) if devices > 2 else ""
    is_large = dice.chance(0.2)
    encoding = dice.pick(("float32", "float32", "float16", "int8", "eden", "topk"))
    drawn = Scenario(
        devices=devices,
        wanted=devices - (odd != "") - (dice.below(2) if devices > 3 else 0),
        count=1 + dice.below(dice.pick((3, 3, 8))),
        inputs=600 if is_large else 7,
        standardise=dice.chance(0.3),
        deadline_s=30.0,
        quorum=dice.pick((0.5, 0.67, 1.0)),
        cohort=1.0 if buffer else dice.pick((1.0, 1.0, 0.5)),
        over_selection=dice.pick((1.0, 1.3, 2.0)),
        evaluate=dice.pick((0.0, 1.0)),
        encoding=encoding,
        share=0.001 if encoding == "topk" else 0.0,
        buffer=buffer,
        max_staleness=dice.pick((1, 4)),
        stays=dice.chance(0.3),
        odd=odd,
        clock_off_s=dice.pick((0.0, 0.0, TEN_YEARS_S, -TEN_YEARS_S)),
        chunk_bytes=1024 if is_large else 96 * 1024,
        max_packet_bytes=2500 if is_large else 2**20,
        will_delay_s=dice.pick((0.0, 30.0)),
        chaos_s=dice.pick((20.0, 60.0, 180.0)),
        breaks=dice.pick((1, 3, 8)),
        rates=_rates(dice),
        rule="uniform",
    )
    return drawn if drawn.cohort == 1.0 else drawn._replace(rule=dice.pick(RULES))


def _rates(dice: Dice) -> Rates:
    """Each kind of fault is there in a part of all seeds: some bugs need one alone, others several together."""

    def maybe(*rates: float) -> float:
        return dice.pick(rates) if dice.chance(0.5) else 0.0

    return Rates(
        kill=maybe(0.002, 0.01, 0.03),
        power=dice.pick((0.0, 0.5, 1.0)),
        disk=maybe(0.005, 0.03),
        drop=maybe(0.01, 0.1),
        duplicate=maybe(0.02, 0.3),
        corrupt=maybe(0.01, 0.05),
        reorder=maybe(0.05, 0.5),
        slow=maybe(0.01, 0.1),
        gremlin=maybe(0.2, 0.8),
        straggler=maybe(0.1, 0.3),
        decline=maybe(0.1),
    )


def honest(number: int, dice: Dice) -> Train:
    """Trains to the one-hot vector of a device, which is the change of its variate as well."""

    def train(work: Work, own: bytes) -> Answer:
        phase, spec = work.manifest.phase, work.brief.spec
        if dice.chance(dice.rates.decline):
            return Answer(Update(0, 0, 0.0, b"", b"", "the battery is low"))
        if phase is Phase.STATISTICS:
            x = np.arange(2 * spec.inputs, dtype=np.float64).reshape(2, spec.inputs) + number
            moments = np.concatenate([[2.0], x.sum(0), (x * x).sum(0)])
            return Answer(Update(2, 0, 0.0, moments.astype("<f8").tobytes(), b"", ""))
        metrics = np.array([2.0, 2.0, 4.0, 2.0, 3.0, 5.0], "<f8").tobytes() if work.task.evaluate else b""
        if not work.task.train:
            return Answer(Update(0, 0, 0.0, b"", metrics, ""))
        vector = np.zeros(spec.layout().size, np.float32)
        vector[number] = 1.0
        name = work.brief.encoding
        data = encode(vector, name, work.brief.options)
        residual = None if name == "float32" else np.zeros_like(vector).tobytes()
        update = Update(1, 1, 0.5, data, metrics, "")
        if work.brief.plan.correction == "none":
            return Answer(update, CODES[name], residual)
        update = msgspec.structs.replace(update, control=data)
        variate = (np.frombuffer(own, "<f4") if own else 0.0) + vector
        return Answer(update, CODES[name], residual, variate.tobytes())

    return train


def malicious(number: int, dice: Dice) -> Train:
    """Sends what is to be refused."""
    answer = honest(number, dice)

    def train(work: Work, own: bytes) -> Answer:
        good = answer(work, own)
        size = len(good.update.vector)
        bad = (
            Update(1, 1, 0.5, np.full(size // 4 + 1, np.nan, "<f4").tobytes()[:size], b"", ""),
            Update(2**40, 1, 0.5, good.update.vector, good.update.metrics, ""),
            Update(1, 1, 0.5, good.update.vector[:-1], b"", ""),
            Update(1, 1, float("inf"), good.update.vector, b"", ""),
            Update(1, 1, 0.5, good.update.vector, b"\xff" * len(good.update.metrics), ""),
        )
        return good._replace(update=dice.pick(bad))

    return train

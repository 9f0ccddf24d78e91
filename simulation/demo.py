"""The demo: a federation on this machine learns from real data, and is compared with what there is without it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fedloom.data.config import SourceConfig
from fedloom.data.prepare import Prepared, prepare
from fedloom.errors import InputError
from fedloom.job import Job, load_job
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate
from fedloom.learning.model import Model
from simulation.baselines import pool, train_centrally

CLOSE_TO_POOLED = 0.02
"""Federated accuracy may be this much below pooled."""
WORTH_IT = 0.10
"""Federated accuracy on the unseen must be this much above a device alone."""


class Case(NamedTuple):
    """A data set that was split by its nature: some owners train, others are never seen."""

    title: str
    lead: str
    job_path: Path
    job: Job
    devices: Sequence[Path]
    """One file a device."""
    unseen: Sequence[Path]
    """Files that no device has."""
    unseen_title: str
    holdout_title: str


class Row(NamedTuple):
    """A model's accuracy on each test set."""

    name: str
    accuracies: tuple[float, float]
    """Accuracy on the unseen, and on the devices' hold-outs."""


class Verdict(NamedTuple):
    """A promise, and whether this run kept it."""

    met: bool
    text: str


class TestSets(NamedTuple):
    """What every model is judged on."""

    unseen: Dataset
    holdouts: Dataset

    def judge(self, name: str, model: Model) -> Row:
        """The model's accuracy on both."""
        return Row(name, (accuracy(model, self.unseen), accuracy(model, self.holdouts)))


def watch_case(examples: Path, _: Path) -> Case:
    """Ten wearers of smartwatches do shoulder exercises: eight train, two are never seen."""
    folder = examples / "watch"
    files = sorted((folder / "data").glob("wearer-*.csv.gz"))
    if len(files) != 10:
        problem = f"{len(files)} recordings of ten"
        raise InputError(str(folder / "data"), "", problem, "run this in a complete checkout of fedloom")
    return Case(
        "Eight smartwatches learn to recognise exercises together",
        "Eight wearers' watches, a process each, train one model on real motion recordings that never leave them; "
        "wearers 9 and 10 are people whom none of them has ever seen.",
        folder / "job.toml",
        load_job(folder / "job.toml"),
        files[:8],
        files[8:],
        "unseen wearers",
        "everybody's last 20 %",
    )


def load(case: Case) -> tuple[list[Prepared], TestSets]:
    """Each device's data as the device itself reads it, and the test sets."""
    job = case.job

    def read(path: Path) -> Prepared:
        return prepare(SourceConfig(str(path)), job.data, job.training.loss, job.seed)

    devices = [read(path) for path in case.devices]
    unseen = [part for path in case.unseen for part in read(path)]
    return devices, TestSets(pool(unseen), pool([device.holdout for device in devices]))


def compare(
    case: Case, devices: Sequence[Prepared], tests: TestSets, federated: Model, on_step: Callable[[str], None]
) -> list[Row]:
    """Every device alone, their mean, all data pooled, and the federation."""
    alone = []
    for number, device in enumerate(devices, 1):
        on_step(f"device {number} alone")
        alone.append(tests.judge(f"device {number} alone", train_centrally(case.job, device.train)))
    on_step("all data pooled")
    pooled = tests.judge("all data pooled", train_centrally(case.job, pool([device.train for device in devices])))
    unseen, holdouts = zip(*(row.accuracies for row in alone), strict=True)
    mean = Row("alone, mean", (sum(unseen) / len(alone), sum(holdouts) / len(alone)))
    return [*alone, mean, tests.judge("federated", federated), pooled]


def verdicts(case: Case, rows: Sequence[Row]) -> list[Verdict]:
    """What the federation was worth in this run, said plainly."""
    by_name = {row.name: row.accuracies for row in rows}
    alone, federated, pooled = by_name["alone, mean"], by_name["federated"], by_name["all data pooled"]
    gain = federated[0] - alone[0]
    found = [
        Verdict(
            gain >= WORTH_IT,
            f"{case.unseen_title}: federated is {100 * gain:.1f} points above a device alone "
            f"(promised: at least {100 * WORTH_IT:.0f})",
        )
    ]
    for title, ours, central in zip((case.unseen_title, case.holdout_title), federated, pooled, strict=True):
        found.append(
            Verdict(
                ours >= central - CLOSE_TO_POOLED,
                f"{title}: federated is {_difference(ours - central)} all data pooled "
                f"(promised: at most {100 * CLOSE_TO_POOLED:.0f} below)",
            )
        )
    return found


def _difference(share: float) -> str:
    return f"{100 * abs(share):.1f} points {'below' if share < 0 else 'above'}"


def accuracy(model: Model, data: Dataset) -> float:
    """The share of `data` (raw features) that the model labels rightly."""
    x = model.standardiser.apply(data.x) if model.standardiser else data.x
    metrics = evaluate(model.spec, model.loss, model.weights, Dataset(x, data.y))
    return metrics.summary()["accuracy"]

"""A job: everything that a federation needs to know to learn one model, as one TOML file of data."""

import math
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from fedloom import config
from fedloom.compression import Bits, Encoding, EncodingOptions, SentShare, check_options, options_of
from fedloom.errors import ConfigError
from fedloom.features import summary_names, summary_width
from fedloom.learning.layout import Layout
from fedloom.learning.personal import PREFIX, Personal, check_method, shared_layout
from fedloom.learning.plan import Loss, TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import MAX_MAGNITUDE

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}\Z")]
Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
PositiveInt = Annotated[int, msgspec.Meta(ge=1)]
Label = Annotated[str, msgspec.Meta(pattern=r"^[^=\s][^=]*(=.*)?\Z", max_length=201)]
"""`KEY=VALUE`, or `KEY` for any value."""
CHUNK_BYTES = 96 * 1024
"""Leaves room in AWS IoT Core's 128 KB for topic and packet header."""
MIN_CHUNK_BYTES = 1024

_METRICS: dict[Loss, tuple[str, ...]] = {
    "mse": ("loss", "mse", "mae", "r2"),
    "huber": ("loss", "mse", "mae", "r2"),
    "binary_cross_entropy": ("loss", "accuracy", "f1", "auc"),
    "cross_entropy": ("loss", "accuracy", "f1"),
}
"""What `stopping.metric` may be."""


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Cut each recording into windows and describe each by summary features, on the device."""

    length: Annotated[int, msgspec.Meta(ge=4, le=100_000)]
    """Rows a window."""
    hop: PositiveInt
    """Rows from the start of a window to the start of the next."""
    summary: Literal["motion"] = "motion"


class Holdout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The samples that a device keeps for evaluation and never trains on."""

    fraction: Annotated[float, msgspec.Meta(ge=0.0, lt=1.0)] = 0.2
    by: Literal["tail", "random"] = "tail"
    """`tail`: the last rows of each group, before windows are cut, so that none straddles; `random`: seeded draw."""


class Data(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What every device must hand to the model; where it comes from is the device's own configuration."""

    features: Annotated[tuple[str, ...], msgspec.Meta(min_length=1)]
    """Columns of a table; in an NPZ file also names of (n, k) arrays. Order matters."""
    target: str
    """The column (or array) that the model learns to predict."""
    classes: tuple[str, ...] = ()
    """Classification: the labels, in the order of the model's outputs. Empty for regression."""
    groups: tuple[str, ...] = ()
    """A change in any of these columns starts a new recording; windows and hold-out never cross it."""
    window: Window | None = None
    holdout: Holdout = Holdout()
    standardise: bool = True
    """Learn mean and deviation of the features over all devices before round 1; they become the input layer."""

    def input_names(self, inputs: int) -> tuple[str, ...]:
        """What each of a model's `inputs` is, in order; empty where an array gives several, which have no names."""
        names = summary_names(self.features) if self.window else self.features
        return names if len(names) == inputs else ()


class Rounds(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many rounds, who takes part, and when a round closes."""

    count: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    devices: PositiveInt = 2
    """Devices that must be ready before the job starts."""
    cohort: Share = 1.0
    """Share of the ready devices that trains in a round (C in McMahan et al. 2017)."""
    over_selection: Annotated[float, msgspec.Meta(ge=1.0, le=10.0)] = 1.3
    """Invite so many times the cohort (as far as there are devices), so that silent ones do not matter."""
    quorum: Share = 1.0
    """Share of the cohort whose updates are enough when the deadline comes; fewer, and the round is tried again."""
    min_updates: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Updates that a model is never made of fewer than, however few devices get through or have usable data; 0 is half
    of what `quorum` asks of the cohort of `devices`, rounded up."""
    deadline_s: Annotated[float, msgspec.Meta(gt=0.0, le=604_800.0)] = 60.0
    """Seconds from the manifest until a round closes."""
    evaluate: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)] = 1.0
    """Share of the invited devices that evaluates the new model on its own hold-out each round."""

    def fewest(self, share: float) -> int:
        """Updates that a model is never made of fewer than, where this share of the devices is asked."""
        return self.min_updates or max(1, math.ceil(self.quorum * share * self.devices / 2 - 1e-9))


class Asynchronous(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Buffered asynchronous aggregation (FedBuff, Nguyen et al. 2022, arXiv:2106.06639): nobody waits for the slowest.

    A round is a buffer: it closes when so many updates are in it, whichever model they were trained from. A device
    finishes what it trains when a newer model comes, and takes that one next.
    """

    buffer: PositiveInt
    """Updates that are fused at once (K in the paper)."""
    max_staleness: Annotated[int, msgspec.Meta(ge=1, le=1000)] = 20
    """Rounds, tries included, after which an update of an older model is refused as late; its round's key is kept for
    so long."""


class UpdateRules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How updates travel and what is admitted."""

    encoding: Encoding = "float32"
    bits: Bits = 0
    """Of each weight, with `eden`; 0 is 1."""
    share: SentShare = 0.0
    """Of the weights, that `topk` sends; 0 is 0.05."""
    chunk_bytes: Annotated[int, msgspec.Meta(ge=MIN_CHUNK_BYTES, le=120 * 1024)] = CHUNK_BYTES
    """A larger model travels to the devices in pieces of this size; smaller ones where links are too slow, or too often
    cut, for one to get through."""
    max_norm: Annotated[float, msgspec.Meta(gt=0.0)] = 1e6
    """Euclidean norm above which an update is refused."""
    max_control_norm: Annotated[float, msgspec.Meta(gt=0.0)] = 1e6
    """The same of the change of a control variate (SCAFFOLD), which is as large as a gradient."""
    max_samples: PositiveInt = 10_000_000
    """Sample count above which an update is refused."""
    max_feature: Annotated[float, msgspec.Meta(gt=0.0, le=MAX_MAGNITUDE)] = 1e9
    """Root mean square of a feature above which a device's statistics are refused."""

    @property
    def options(self) -> EncodingOptions:
        """Of the encoding, with its defaults in the place of zeros."""
        return options_of(self.encoding, self.bits, self.share)


class Stopping(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """End the job early, when the federated metric has stopped improving."""

    metric: Literal[
        "loss",
        "accuracy",
        "f1",
        "auc",
        "mse",
        "mae",
        "r2",
        "personal_loss",
        "personal_accuracy",
        "personal_f1",
        "personal_auc",
        "personal_mse",
        "personal_mae",
        "personal_r2",
    ] = "loss"
    """`personal_…`: of the devices' own models."""
    tolerance: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """An improvement smaller than this does not count."""
    patience: Annotated[int, msgspec.Meta(ge=0)] = 0
    """Rounds without improvement before the job ends; 0 is never."""


class StrategyChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which fusion rule, with which parameters."""

    name: str = "fedavg"
    options: dict[str, bool | int | float | str] = {}
    """Of the rule, its server optimiser and its pre-steps together."""
    server: str = ""
    """The server optimiser of a composed rule; empty is the rule's own."""
    before: tuple[str, ...] = ()
    """Pre-steps, in order: what is done to the updates before the rule sees them."""
    robust: bool = False
    """Withstand devices that lie, without a choice of rule: in the place of `name` and `before`."""


class CohortChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which devices take part in the job, and which of them in a round."""

    name: str = "uniform"
    """The rule that draws a training round's devices."""
    options: dict[str, bool | int | float | str] = {}
    """Of the rule."""
    require: tuple[Label, ...] = ()
    """Labels that a device needs, all of them, to take part at all."""
    exclude: tuple[Label, ...] = ()
    """Labels any of which keeps a device out."""


class Job(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One model to learn together."""

    name: Name
    model: ModelSpec
    data: Data
    training: TrainPlan
    rounds: Rounds
    update: UpdateRules = UpdateRules()
    asynchronous: Asynchronous | None = None
    """Not set: synchronous rounds."""
    personal: Personal | None = None
    """Not set: one model for all."""
    stopping: Stopping = Stopping()
    strategy: StrategyChoice = StrategyChoice()
    cohort: CohortChoice = CohortChoice()
    seed: Annotated[int, msgspec.Meta(ge=0, lt=2**32)] = 0
    warm_start: str = ""
    """A saved fedloom model or an ONNX file, beside the job file, to start from; empty is a seeded random start."""

    @property
    def shared_layout(self) -> Layout:
        """Of the model's first weights, which travel in updates and are fused; the others stay on the devices."""
        return shared_layout(self.model, self.personal)

    def figures_of(self, *, trains: bool) -> tuple[str, ...]:
        """Prefixes of the figures that devices measure in a round: of the round's model, and of their own."""
        return ("", PREFIX) if self.personal and self.personal.is_measured(trains=trains) else ("",)


def load_job(path: Path) -> Job:
    """Read and check a job file.

    Raises:
        ConfigError: it cannot be read, does not parse, or asks for something impossible.
    """
    job = config.load(path, Job)
    check_job(job, str(path))
    return job


MAX_WEIGHTS = 80_000_000
"""The hashes of a larger model's chunks would not fit into a manifest."""


def check_job(job: Job, where: str) -> None:
    """Refuse what each key allows by itself but not together.

    Raises:
        ConfigError: names the two that disagree.
    """
    if (size := job.model.layout().size) > MAX_WEIGHTS:
        raise ConfigError(where, "model", f"has {size:,} weights", f"make it smaller: {MAX_WEIGHTS:,} at most")
    _check_classes(job, where)
    if len(set(job.data.features)) != len(job.data.features):
        raise ConfigError(where, "data.features", "a feature is named twice", "name each feature once")
    if job.data.target in job.data.features:
        raise ConfigError(
            where, "data.target", f"{job.data.target!r} is also a feature", "take it out of data.features"
        )
    for key, value, default in (
        ("correction", job.training.correction, "none"),
        ("measure_loss", job.training.measure_loss, False),
    ):
        if value != default:
            raise ConfigError(where, f"training.{key}", "is the strategy's to set", "leave it out; see [strategy]")
    if job.training.schedule == "step" and job.training.step_every == 0:
        raise ConfigError(where, "training.step_every", "schedule 'step' needs it", "set it to a number of steps")
    _check_personal(job, where)
    _check_stopping(job, where)
    _check_labels(job.cohort, where)
    check_options(job.update.encoding, job.update.bits, job.update.share, where)
    if job.rounds.min_updates > job.rounds.devices:
        problem = f"{job.rounds.min_updates} updates, but the job starts with {job.rounds.devices} devices"
        raise ConfigError(where, "rounds.min_updates", problem, "set it to rounds.devices at most, or raise that")
    if job.asynchronous:
        _check_buffer(job, job.asynchronous.buffer, where)
    if job.data.window:
        _check_window(job, job.data.window, where)


def _check_buffer(job: Job, buffer: int, where: str) -> None:
    """Refuse a buffer that is never full, or full with fewer updates than a model may be made of."""
    rounds, key = job.rounds, "asynchronous.buffer"
    most, fewest = max(1, math.ceil(rounds.cohort * rounds.devices - 1e-9)), rounds.fewest(rounds.cohort)
    if buffer > most:
        problem = f"{buffer} updates, but a round of rounds.devices = {rounds.devices} may bring {most} only"
        raise ConfigError(where, key, problem, f"set it to {most} at most, or raise rounds.devices or rounds.cohort")
    if buffer < fewest:
        problem = f"{buffer} updates, but no model is made of fewer than {fewest}"
        raise ConfigError(where, key, problem, f"raise it to {fewest}, or set rounds.min_updates to {buffer}")


def _check_classes(job: Job, where: str) -> None:
    loss, outputs, classes = job.training.loss, job.model.outputs, job.data.classes
    if loss == "cross_entropy" and len(classes) != outputs:
        raise ConfigError(
            where,
            "model.outputs",
            f"{outputs} outputs for {len(classes)} classes",
            "cross_entropy needs one output a class",
        )
    if loss == "binary_cross_entropy" and (outputs != 1 or len(classes) != 2):
        problem = f"{outputs} outputs for {len(classes)} classes"
        raise ConfigError(where, "model.outputs", problem, "binary_cross_entropy needs 1 output and 2 classes")
    if loss in ("mse", "huber") and classes:
        raise ConfigError(
            where,
            "data.classes",
            f"{loss} does not use classes",
            "remove them or choose a cross-entropy loss",
        )
    if len(set(classes)) != len(classes):
        raise ConfigError(where, "data.classes", "a class is named twice", "name each class once")
    weights = job.training.class_weights
    if weights and len(weights) != len(classes):
        problem = f"{len(weights)} weights for {len(classes)} classes"
        raise ConfigError(where, "training.class_weights", problem, "give one weight a class")


def _check_personal(job: Job, where: str) -> None:
    personal = job.personal
    if personal is None:
        return
    check_method(personal, where)
    depth = len(job.model.widths) - 1
    if personal.method == "head" and personal.layers >= depth:
        problem = f"{personal.layers} of the model's {depth} layers stay on the devices, which leaves nothing to share"
        remedy = f"set it to {depth - 1} at most" if depth > 1 else "give the model a hidden layer, or choose 'ditto'"
        raise ConfigError(where, "personal.layers", problem, remedy)


def _check_stopping(job: Job, where: str) -> None:
    metric, loss = job.stopping.metric, job.training.loss
    known = [prefix + name for prefix in job.figures_of(trains=True) for name in _METRICS[loss]]
    if metric not in known:
        where_not = "in the rounds of this job" if metric.startswith(PREFIX) else f"with loss {loss}"
        problem = f"{metric!r} is not measured {where_not}"
        raise ConfigError(where, "stopping.metric", problem, f"choose from {', '.join(known)}")
    if job.stopping.patience and job.shared_layout != job.model.layout() and not metric.startswith(PREFIX):
        problem = f"{metric!r} is that of a model whose last layers nobody trains"
        raise ConfigError(where, "stopping.metric", problem, f"set it to '{PREFIX}{metric}'")
    if job.stopping.patience and not job.rounds.evaluate:
        problem = "waits for a metric, but rounds.evaluate = 0 measures none"
        raise ConfigError(where, "stopping.patience", problem, "set it to 0, or rounds.evaluate above 0")
    if job.stopping.patience and not job.data.holdout.fraction:
        problem = "waits for a metric, but data.holdout.fraction = 0 leaves nothing to measure it on"
        raise ConfigError(where, "stopping.patience", problem, "set it to 0, or data.holdout.fraction above 0")


def _check_labels(choice: CohortChoice, where: str) -> None:
    """Refuse labels that no device can have, of which a key has one value."""
    values: dict[str, str] = {}
    for label in choice.require:
        key, equals, value = label.partition("=")
        if label in choice.exclude or key in choice.exclude:
            problem = f"{label!r} is required, too, so that no device can take part"
            raise ConfigError(where, "cohort.exclude", problem, "take it out of one of the two")
        if equals and values.setdefault(key, value) != value:
            problem = f"both {key}={values[key]} and {label}, and a device has one value of each"
            raise ConfigError(where, "cohort.require", problem, "leave one of the two out")


def _check_window(job: Job, window: Window, where: str) -> None:
    if window.hop > window.length:
        raise ConfigError(
            where, "data.window.hop", "is longer than the window: rows would be skipped", "make it ≤ length"
        )
    width = summary_width(job.data.features)
    if job.model.inputs != width:
        problem = f"{job.model.inputs} inputs, but these features give {width} summaries a window"
        raise ConfigError(where, "model.inputs", problem, f"set it to {width}")

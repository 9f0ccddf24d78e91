"""What the keys of a job allow each by itself, but not together."""

from fedloom.compression import check_options
from fedloom.errors import ConfigError
from fedloom.features import summary_width
from fedloom.job.choices import CohortChoice
from fedloom.job.data import Window
from fedloom.job.document import Job
from fedloom.learning.personal import PREFIX, check_method
from fedloom.learning.plan import Loss
from fedloom.simulated import check_simulation
from fedloom.sweep import check_sweep

MAX_WEIGHTS = 80_000_000
"""The hashes of a larger model's chunks would not fit into a manifest."""

_METRICS: dict[Loss, tuple[str, ...]] = {
    "mse": ("loss", "mse", "mae", "r2"),
    "huber": ("loss", "mse", "mae", "r2"),
    "binary_cross_entropy": ("loss", "accuracy", "f1", "auc"),
    "cross_entropy": ("loss", "accuracy", "f1"),
}
"""What `stopping.metric` may be."""


def check_job(job: Job, where: str) -> None:
    """Refuse what each key allows by itself but not together.

    Raises:
        ConfigError: names the two that disagree.
    """
    if (size := job.model.layout().size) > MAX_WEIGHTS:
        raise ConfigError(where, "model", f"has {size:,} weights", f"make it smaller: {MAX_WEIGHTS:,} at most")
    _check_classes(job, where)
    _check_features(job, where)
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
    if job.simulation:
        check_simulation(job.simulation, where)
    check_sweep(job.sweep, where)


def _check_buffer(job: Job, buffer: int, where: str) -> None:
    """Refuse a buffer that is never full, or full with fewer updates than a model may be made of."""
    rounds, key = job.rounds, "asynchronous.buffer"
    most, fewest = rounds.most, rounds.fewest(rounds.cohort)
    if buffer > most:
        problem = f"{buffer} updates, but a round of rounds.devices = {rounds.devices} may bring {most} only"
        raise ConfigError(where, key, problem, f"set it to {most} at most, or raise rounds.devices or rounds.cohort")
    if buffer < fewest:
        problem = f"{buffer} updates, but no model is made of fewer than {fewest}"
        raise ConfigError(where, key, problem, f"raise it to {fewest}, or set rounds.min_updates to {buffer}")


def _check_features(job: Job, where: str) -> None:
    if len(set(job.data.features)) != len(job.data.features):
        raise ConfigError(where, "data.features", "a feature is named twice", "name each feature once")
    if job.data.target in job.data.features:
        raise ConfigError(
            where, "data.target", f"{job.data.target!r} is also a feature", "take it out of data.features"
        )


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

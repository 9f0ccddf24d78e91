"""What `fedloom aggregator status` and `fedloom model show` print."""

import time

import msgspec

from aggregator import history
from aggregator.figures import headline
from aggregator.history import ModelEntry, RoundEntry
from aggregator.present import Present
from aggregator.registry import best_of
from aggregator.store import Store
from fedloom.job import Job
from fedloom.learning.model import Model

_NEWEST = 5
_SHOWN, _MAX_SHOWN = ("accuracy", "loss", "mse", "r2"), 4


class Standing(msgspec.Struct, frozen=True):
    """Where the newest run stands."""

    job: str
    """Its name; empty before the first run."""
    devices: int
    revoked: int
    present: Present | None
    """As the running aggregator has noted it; None: it has not."""
    rounds: list[RoundEntry]
    latest: ModelEntry | None
    best: ModelEntry | None
    """By the job's stopping metric."""


class Card(msgspec.Struct, frozen=True):
    """What a saved model is."""

    layers: list[int]
    activation: str
    loss: str
    weights: int
    standardised: bool
    classes: list[str]
    features: list[str]
    notes: dict[str, str]


def standing(store: Store, present: Present | None) -> Standing:
    """Read it from the store."""
    devices = store.devices()
    revoked = sum(device.revoked for device in devices)
    newest = history.newest_job(store)
    if newest is None:
        return Standing("", len(devices), revoked, present, [], None, None)
    run, name, definition = newest
    models = list(history.models_of(store, name))
    best = best_of(models, msgspec.json.decode(definition, type=Job).stopping)
    rounds, latest = history.rounds_of(store, run), models[-1] if models else None
    return Standing(name, len(devices), revoked, present, rounds, latest, best)


def describe(standing: Standing) -> str:
    """For people."""
    out = [f"devices: {standing.devices}" + (f", {standing.revoked} revoked" if standing.revoked else "")]
    if standing.present:
        at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(standing.present.at_s))
        out.append(f"present: {standing.present.ready} ready, {standing.present.sleeping} asleep (at {at})")
    if not standing.job:
        return "\n".join([*out, "no job has run yet"])
    out.append(f"job: {standing.job}")
    for each in standing.rounds[-_NEWEST:]:
        reason = f" ({each.reason})" if each.reason else ""
        out.append(f"round {each.round} ({each.phase}), attempt {each.attempt}: {each.status}{reason}")
    if standing.latest:
        out.append(f"latest model: {standing.latest.file}{headline(standing.latest.metrics, _SHOWN, _MAX_SHOWN)}")
    if standing.best:
        out.append(f"best model: {standing.best.file}{headline(standing.best.metrics, _SHOWN, _MAX_SHOWN)}")
    return "\n".join(out)


def card(model: Model) -> Card:
    """The facts of a model."""
    return Card(
        layers=list(model.spec.widths),
        activation=model.spec.activation,
        loss=model.loss,
        weights=model.weights.size,
        standardised=model.standardiser is not None,
        classes=list(model.classes),
        features=list(model.features),
        notes=dict(model.meta),
    )


def lines(shown: Card) -> str:
    """For people."""
    out = [
        f"layers: {' → '.join(map(str, shown.layers))}, {shown.activation}; {shown.weights:,} weights",
        f"loss: {shown.loss}",
        f"input: {'standardised inside the model' if shown.standardised else 'raw'}",
    ]
    out += [f"classes: {', '.join(shown.classes)}"] if shown.classes else []
    out += [f"features: {', '.join(shown.features)}"] if shown.features else []
    return "\n".join(out + [f"{name}: {value}" for name, value in shown.notes.items()])

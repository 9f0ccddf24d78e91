"""What a rule makes of a table of updates."""

import numpy as np

from fedloom.job.choices import StrategyChoice
from strategies import ClientUpdate, UpdatesInMemory, create


def updates(deltas, trusted=None):
    """A row each; the samples that they claim differ."""
    rows = np.asarray(deltas, np.float32)
    return UpdatesInMemory(
        [ClientUpdate(i.to_bytes(16, "big"), 1 + i, row) for i, row in enumerate(rows)],
        None if trusted is None else np.asarray(trusted, np.float32),
    )


def direction(name, deltas, before=(), trusted=None, **options):
    """The model after one round that began with weights of zero."""
    strategy = create(StrategyChoice(name, options, before=before), "job.toml")
    given = updates(deltas, trusted)
    size = np.shape(deltas)[1]
    return strategy.fuse(np.zeros(size, np.float32), given, strategy.initial_state(size)).weights


def normal(seed, count, size=6):
    """So many rows of noise."""
    return np.random.default_rng(seed).normal(size=(count, size)).astype(np.float32)

"""The figures of a model, as lines for people show them."""

from collections.abc import Iterator, Sequence

from aggregator.records import Figures
from fedloom.learning.personal import PREFIX


def headline(metrics: Figures, names: Sequence[str], most: int) -> str:
    """` | accuracy 0.52, loss 1.3, personal accuracy 0.97`: the first `most` of these names that there are.

    The devices' own models follow with the first of them; empty where there is nothing.
    """
    present = [name for name in names if name in metrics][:most]
    present += [PREFIX + name for name in present[:1] if PREFIX + name in metrics]
    return f" | {', '.join(in_words({name: metrics[name] for name in present}))}" if present else ""


def in_words(metrics: Figures) -> Iterator[str]:
    """Each with its name.

    >>> list(in_words({"loss": 1.25, "personal_f1": 0.5, "f1_0": 1.0}))
    ['loss 1.25', 'personal f1 0.5', 'f1_0 1']
    """
    for name, value in metrics.items():
        words = f"personal {name.removeprefix(PREFIX)}" if name.startswith(PREFIX) else name
        yield f"{words} {value:.4g}"

"""The figures of a model, as lines for people show them."""

from collections.abc import Iterator, Sequence

from aggregator.records import Figures
from fedloom.learning.personal import PREFIX


def headline(metrics: Figures, names: Sequence[str], most: int) -> str:
    """The first `most` of these names that there are, and the first of them of the devices' own models.

    >>> headline({"mse": 2.0, "loss": 1.0, "personal_loss": 0.5}, ("loss", "mse"), 1)
    ' | loss 1, personal loss 0.5'
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

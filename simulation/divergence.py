"""What to do about training that diverges: said where a run ends over it, whichever engine ran it."""

from collections.abc import Iterable, Iterator

from aggregator.notices import AnyNotice, Stalled
from fedloom.errors import FedloomError
from fedloom.job import Job

_SIGNS = ("not finite", "diverged")
"""What devices, rules and simulated clients say of numbers that are none."""
_NORMS = {"max_norm": ("update.max_norm", "norm_exceeded"), "max_control_norm": ("update.max_control_norm",)}
"""Keys of `[update]`, and what is said of an update beyond them."""
_VAGUE = "; lower the learning rate"
"""With which some of them end, who do not know the job's keys."""


class DivergedError(FedloomError):
    """No model comes of the training, however often it is tried."""

    exit_status = 1


def with_remedy(job: Job, reason: str) -> str:
    """Why a round comes to nothing, and what to do; empty if it is not that steps are too large."""
    norms = [name for name, signs in _NORMS.items() if any(sign in reason for sign in signs)]
    if not norms and not any(sign in reason for sign in _SIGNS):
        return ""
    ways = [f"lower training.learning_rate (now {job.training.learning_rate:g})"]
    options = job.strategy.options
    ways += [f"lower strategy.options.{name} (now {options[name]})" for name in options if name.endswith("rate")]
    ways += [f"raise update.{name} (now {getattr(job.update, name):g})" for name in norms]
    return f"{reason.partition(_VAGUE)[0]}; {', or '.join(ways)}"


def ending(notices: Iterable[AnyNotice], job: Job) -> Iterator[AnyNotice]:
    """Pass the notices of a fleet on.

    Raises:
        DivergedError: it waits in vain, as what it does diverges.
    """
    for notice in notices:
        yield notice
        if isinstance(notice, Stalled) and (told := with_remedy(job, notice.reason)):
            raise DivergedError(told)

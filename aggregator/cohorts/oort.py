"""Oort: devices whose samples are worth most, and that are fast; a share of each cohort explores those never asked.

    U_k = n_k · ℓ_k                                                     statistical utility, capped, over the highest
    Util_k = (U_k + √(0.1 · ln R / L_k)) · (T / t_k)^(α · 1(T < t_k))   L_k: the last round it answered; R: this one

Of the m devices ε_R · m are ones that were never asked, ε_R = max(ε_min, ε_1 · decay^(R−1)); the others are drawn with
P ∝ Util among those whose utility is at least `cut_off` times that of the last one that fits.

It departs from the paper where a figure is not known. The paper has n_k · √(mean of the samples' squared losses);
devices tell the mean loss ℓ_k, which is that root's lower bound, equal where all samples are alike. T is the time in
which the share `preferred` of the devices has answered; the paper's pacer, which raises T when the utility falls off,
is left out: how long a round may take is the job's to say, by its deadline and quorum. Devices are explored in the
order drawn, since nobody knows the speed of one that was never asked.

Source: Lai, Zhu, Madhyastha, Chowdhury 2021, "Oort: efficient federated learning via guided participant selection",
OSDI, arXiv:2010.06081, equation 1 and algorithm 1.
"""

import math
from collections.abc import Sequence
from typing import Annotated, ClassVar

import msgspec
import numpy as np

from aggregator.cohorts.base import Positions, Rng
from aggregator.cohorts.figures import Numbers, capped, draw, mean_losses, sample_counts
from aggregator.records import Standing
from fedloom.job.numbers import Share

_STALENESS = 0.1
"""Weight of ln R / L_k under the root."""
_ZeroToOne = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]


class Oort(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Guided participant selection; the defaults are the paper's, but for `preferred`."""

    remembers: ClassVar[bool] = True
    counts_classes: ClassVar[bool] = False

    exploration: _ZeroToOne = 0.9
    """Share of the first cohort that explores (ε_1)."""
    exploration_decay: Share = 0.98
    """It shrinks by this factor each round …"""
    exploration_min: _ZeroToOne = 0.2
    """… down to this."""
    preferred: Share = 0.8
    """Share of the devices that is fast enough."""
    penalty: Annotated[float, msgspec.Meta(ge=0.0, le=10.0)] = 2.0
    """How strongly the others are put back (α); 0 is not at all."""
    cut_off: Share = 0.95
    """How much less than the last that fits another may be worth and still be drawn."""

    def pick(self, ready: Sequence[Standing], count: int, round_number: int, rng: Rng) -> Positions:
        """Exploit, and explore: those that were asked and never answered come after all that were never asked."""
        has_answered = np.array([each.answered > 0 for each in ready], np.bool_)
        asked = np.array([each.asked for each in ready])
        known, others = np.flatnonzero(has_answered), np.flatnonzero(~has_answered)
        others = others[np.argsort(asked[others], kind="stable")]
        share = max(self.exploration_min, self.exploration * self.exploration_decay ** (round_number - 1))
        exploring = min(others.size, int(share * count + rng.random()))  # a cohort of one explores now and then, too
        utility = self._utility([each for each in ready if each.answered > 0], round_number)
        best = known[self._exploit(utility, min(known.size, count - exploring), rng)]
        return np.concatenate([best, others])[:count]

    def _exploit(self, utility: Numbers, count: int, rng: Rng) -> Positions:
        """Those that are about as good as the last that fits have a chance."""
        if not count:
            return np.arange(0)
        order = np.argsort(-utility, kind="stable")
        pool: Positions = order[utility[order] >= self.cut_off * utility[order[count - 1]]]
        drawn: Positions = pool[draw(utility[pool], count, rng)]
        return drawn

    def _utility(self, known: Sequence[Standing], round_number: int) -> Numbers:
        """(k,)"""
        if not known:
            return np.zeros(0)
        statistical = capped(sample_counts(known) * mean_losses(known))
        statistical /= max(statistical.max(), np.finfo(np.float64).tiny)
        last = np.array([each.answered for each in known], np.float64)
        utility: Numbers = statistical + np.sqrt(_STALENESS * math.log(max(round_number, 1)) / last)
        seconds = np.array([np.nan if each.seconds is None else each.seconds for each in known], np.float64)
        return utility * self._speed(seconds)

    def _speed(self, seconds: Numbers) -> Numbers:
        """(T / t)^α for the slow ones, 1 for the others and where it is not known."""
        told = seconds[~np.isnan(seconds)]
        if not told.size:
            return np.ones_like(seconds)
        enough = float(np.quantile(told, self.preferred, method="inverted_cdf"))
        slow = seconds > enough  # NaN is not
        return np.where(slow, (enough / np.where(slow, seconds, 1.0)) ** self.penalty, 1.0)

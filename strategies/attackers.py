"""How many attackers a rule assumes: the option `f`, which its parts share, and how many updates that takes."""

from typing import Annotated, NamedTuple

import msgspec

from strategies.base import FusionError, Updates, total_samples

Attackers = Annotated[int, msgspec.Meta(ge=0)] | None
"""f. None: three in ten of the round's updates, or as many of those as the rule can withstand."""


class Tolerance(NamedTuple):
    """A rule withstands f > 0 attackers among n ≥ `per_attacker` · f + `besides` updates; f = 0 asks for nothing."""

    rule: str
    per_attacker: int
    besides: int

    def assumed(self, f: Attackers, updates: Updates) -> int:
        """f, or what it is taken for.

        Raises:
            FusionError: nobody has trained, or there are too few updates for so many attackers.
        """
        total_samples(updates)
        count = len(updates)
        most = max(0, (count - self.besides) // self.per_attacker)
        if f is None:
            return min(most, 3 * count // 10)
        if f > most:
            needed = self.per_attacker * f + self.besides
            raise FusionError(
                f"{self.rule} withstands f = {f} attackers among {needed} updates or more, and here are {count}; "
                f"lower strategy.options.f to {most}, or set rounds.min_updates to {needed}"
            )
        return f

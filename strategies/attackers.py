"""How many attackers a rule assumes: the option `f`, which its parts share, and how many updates that takes."""

from typing import Annotated, NamedTuple

import msgspec

from strategies.base import FusionError, Updates, total_samples

Attackers = Annotated[int, msgspec.Meta(ge=0)] | None
"""f. None: three in ten of the updates that the round has, or as many of those as the rule can withstand."""


class Tolerance(NamedTuple):
    """A rule withstands f > 0 attackers among n ≥ `per_attacker` · f + `besides` updates; f = 0 asks for nothing.

    Where a pre-step has put several updates together, n counts what it hands on, of which an attacker spoils one.
    """

    rule: str
    per_attacker: int
    besides: int

    def fewest(self, f: Attackers) -> int:
        """n.

        >>> [Tolerance("krum", per_attacker=2, besides=3).fewest(f) for f in (None, 0, 2)]
        [1, 1, 7]
        """
        return self.per_attacker * f + self.besides if f else 1

    def assumed(self, f: Attackers, updates: Updates) -> int:
        """f, or what it is taken for.

        Raises:
            FusionError: nobody has trained, or there are too few updates for so many attackers.
        """
        total_samples(updates)
        count = len(updates)
        most = max(0, (count - self.besides) // self.per_attacker)
        if f is None:
            return min(most, 3 * updates.received // 10)
        if f > most:
            needed, each = self.fewest(f), -(-updates.received // count)
            here = f"{count}, made of {updates.received}" if each > 1 else f"{count}"
            raise FusionError(
                f"{self.rule} withstands f = {f} attackers among {needed} updates or more, and here are {here}; "
                f"lower strategy.options.f to {most}, or set rounds.min_updates to {(needed - 1) * each + 1}"
            )
        return f

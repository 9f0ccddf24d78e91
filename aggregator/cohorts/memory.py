"""What a run knows of its devices for choosing among them, as the store's table `standings` has it. No I/O.

Every change is a record that is made durable: an answer's with the answer, an invitation's with the round. So a process
that was killed knows the same again, and draws the same cohort from the same ready devices.
"""

from collections.abc import Iterable

from aggregator.cohorts.base import Rule
from aggregator.records import Standing


class Memory:
    """Empty for a rule that does not look: then nothing is kept, either."""

    def __init__(self, rule: Rule, standings: Iterable[Standing] = ()) -> None:
        self.rule = rule
        self._standings = {each.device: each for each in standings} if rule.remembers else {}

    def of(self, device: bytes) -> Standing:
        """What is known of a device."""
        return self._standings.get(device) or Standing(device)

    def heard(self, news: Standing) -> Standing | None:
        """A device's accepted update has told this; returns what is to be kept, if anything changes.

        Older news than what is known may come in an asynchronous job, and change nothing.
        """
        last = self.of(news.device)
        if not self.rule.remembers or news.answered < last.answered:
            return None
        counts = news.class_counts or last.class_counts  # not every cohort evaluates
        kept = news._replace(asked=max(last.asked, news.answered), class_counts=counts)
        self._standings[news.device] = kept
        return kept

    def asked(self, devices: Iterable[bytes], round_number: int) -> tuple[Standing, ...]:
        """These are invited to train in a round; returns what is to be kept."""
        if not self.rule.remembers:
            return ()
        kept = tuple(self.of(device)._replace(asked=round_number) for device in devices)
        self._standings |= {each.device: each for each in kept}
        return kept

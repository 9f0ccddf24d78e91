"""What happened in a run, collected from the aggregator's notices."""

from collections.abc import Iterable, Iterator

import msgspec

from aggregator.notices import AnyNotice, Done, RoundClosed
from fedloom.wire.messages import Phase


class History(msgspec.Struct):
    """A run, round by round; `metrics` of round r are of the model that round r fused."""

    rounds: list[int] = []
    metrics: list[dict[str, float]] = []
    seconds: list[float] = []
    update_bytes: int = 0
    """Bytes of the sealed updates of all training rounds."""
    model_path: str = ""

    def add(self, notice: AnyNotice) -> None:
        """Take in one notice."""
        if isinstance(notice, RoundClosed) and notice.outcome == "done":
            if notice.phase is Phase.TRAIN:
                self.update_bytes += notice.bytes
                self.seconds.append(notice.seconds)
            if notice.metrics:  # they are of the model that this round started from
                self.rounds.append(notice.round - 1)
                self.metrics.append(notice.metrics)
        elif isinstance(notice, Done):
            self.model_path = notice.model

    def series(self, figure: str) -> list[float]:
        """One figure over the rounds."""
        return [metrics[figure] for metrics in self.metrics]


def record(notices: Iterable[AnyNotice], history: History) -> Iterator[AnyNotice]:
    """Pass the notices on and keep what matters in `history`."""
    for notice in notices:
        history.add(notice)
        yield notice

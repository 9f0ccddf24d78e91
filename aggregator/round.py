"""Who was asked, who has answered, and whether the round may close. No clock, no I/O."""

import math
from collections import Counter
from collections.abc import Collection

from aggregator.records import Answer, AnswerKey, Outcome
from fedloom.job.rounds import Rounds
from fedloom.wire.messages import Phase, Verdict


def fewest_updates(phase: Phase, rounds: Rounds) -> int:
    """Accepted updates without which no round of `phase` is done, whoever else was kept away, declined or was rejected.

    Evaluation has no such bound: it changes no model.
    """
    if phase not in (Phase.TRAIN, Phase.STATISTICS):
        return 1
    return rounds.fewest(rounds.cohort if phase is Phase.TRAIN else 1.0)  # statistics are asked of every device


class RoundState:
    """A round while its answers come in.

    It closes when all invited have answered, when the target is reached by a cohort that was over-selected, or at the
    deadline. A device that declines lowers what the quorum is a share of: bad data on one device must not stop the
    others. So does one whose update was rejected: whatever a device sends, the round completes. But no model is ever
    made of fewer devices' updates than the job allows.

    A buffer of an asynchronous job also takes answers to older manifests. It closes when it is full, and at the
    deadline it is fused if enough devices are in it.
    """

    def __init__(
        self,
        phase: Phase,
        invited: Collection[bytes],
        target: int,
        rounds: Rounds,
        deadline_s: float,
        *,
        version: int = 0,
        is_buffer: bool = False,
    ) -> None:
        """`deadline_s` is on the monotonic clock that `outcome` is asked with, `version` that of the manifest."""
        self.phase = phase
        self.invited = frozenset(invited)
        self.target = target
        self.deadline_s = deadline_s
        self.answers: dict[AnswerKey, Answer] = {}
        self.rejected: dict[AnswerKey, Answer] = {}
        """The last refused update of devices without a valid one."""
        self.accepted = 0
        self.counts: Counter[bytes] = Counter()
        """Accepted updates of each device."""
        self._version = version
        self._silent = set(invited)
        self._quorum = 0.0 if is_buffer else rounds.quorum
        self._fewest = fewest_updates(phase, rounds)

    def record(self, answer: Answer) -> None:
        """A valid answer is durable. The first one counts; the store refuses another."""
        if answer.key not in self.answers:
            self.answers[answer.key] = answer
            if answer.verdict is Verdict.ACCEPTED:
                self.accepted += 1
                self.counts[answer.device] += 1
        self.rejected.pop(answer.key, None)
        self._has_spoken(answer)

    def reject(self, answer: Answer) -> None:
        """A signed update was refused; a valid one may still come."""
        if answer.key not in self.answers:
            self.rejected[answer.key] = answer
            self._has_spoken(answer)

    def _has_spoken(self, answer: Answer) -> None:
        """Of this manifest: a device that has answered an older one goes on to this one."""
        if answer.base == self._version:
            self._silent.discard(answer.device)

    @property
    def _able(self) -> int:
        """Invited devices that have not said no, nor sent what is refused."""
        return len(self.invited) - self.declined - len(self.rejected)

    @property
    def declined(self) -> int:
        return len(self.answers) - self.accepted

    @property
    def silent(self) -> frozenset[bytes]:
        """Devices whose word is still awaited."""
        return frozenset(self._silent)

    @property
    def needed(self) -> int:
        """Devices without whose updates nothing is fused."""
        return max(self._fewest, math.ceil(self._quorum * min(self.target, self._able) - 1e-9))

    def outcome(self, now_s: float) -> Outcome | None:
        """How the round ends if it is to close now, else None."""
        has_all = not self._silent
        has_target = self.accepted >= self.target and len(self.counts) >= self.needed
        if not (has_all or has_target or now_s >= self.deadline_s):
            return None
        # Devices without a hold-out decline to evaluate: that must not keep a trained model from being finished.
        is_enough = len(self.counts) >= self.needed or (has_all and self.phase is Phase.EVALUATE)
        return "done" if is_enough else "aborted"

    def reason(self) -> str:
        """Why too few updates came, for the operator."""
        key = " (rounds.min_updates)" if self._able < self._fewest else ""
        parts = [f"{len(self.counts)} updates of {self.needed} needed{key}"]
        if silent := len(self._silent):
            parts.append(f"{silent} devices silent")
        said = sorted({answer.reason for answer in (*self.answers.values(), *self.rejected.values()) if answer.reason})
        return "; ".join(parts + said[:3])

"""The rounds whose answers count: the one that is open, and in an asynchronous job those before it for a while. Pure.

An answer to the manifest of version v counts while the newest manifest is at most v + max_staleness: of every version,
tries of a round included, so that never more than max_staleness + 1 keys exist.
"""

from collections.abc import Iterable, Sequence

from aggregator.own_manifest import own_manifest
from aggregator.records import Answer, RoundRecord, Snapshot
from fedloom.job import Job
from fedloom.learning.plan import TrainPlan
from fedloom.trust.seal import SealKey, SealSuite
from fedloom.wire.brief import open_brief
from fedloom.wire.messages import Phase


class Base:
    """A round as admission sees it."""

    def __init__(self, record: RoundRecord, suite: SealSuite, plan: TrainPlan, opened_s: float | None = None) -> None:
        """`plan`: what its devices do; `opened_s`: on the monotonic clock, None where another process has opened it."""
        self.plan = plan
        self.opened_s = opened_s
        self.record = record._replace(manifest=b"")
        self.invited = frozenset(each.device for each in record.invitations)
        self.evaluating = frozenset(each.device for each in record.invitations if each.evaluate)
        self.seal_key = SealKey(suite, record.round_key) if record.round_key else None


def max_staleness(job: Job, phase: Phase) -> int:
    """How many manifests later an answer still counts: only training is asynchronous."""
    return job.asynchronous.max_staleness if job.asynchronous and phase is Phase.TRAIN else 0


def keys_from(job: Job, closed: RoundRecord, next_phase: Phase) -> int:
    """Rounds before this manifest version lose their keys when `closed` is over and such a round comes next."""
    return closed.manifest_version + 1 - min(max_staleness(job, closed.phase), max_staleness(job, next_phase))


class Past:
    """What outlives a round: its key, and the answers that were counted in it."""

    def __init__(self, job: Job, suite: SealSuite, snapshot: Snapshot) -> None:
        self._job = job
        self._bases: Sequence[Base] = [Base(each, suite, _plan_of(each)) for each in snapshot.bases]
        over = snapshot.answers if snapshot.outcome else ()
        self._answers = {each.digest: each for each in (*snapshot.earlier, *over)}

    def keep(self, bases: Iterable[Base], answers: Iterable[Answer]) -> None:
        """A round is over; these are its own base and all that it knew, and the answers that it has counted."""
        self._bases = list(bases)
        self._answers |= {each.digest: each for each in answers}

    def forget(self, opened: RoundRecord) -> tuple[Sequence[Base], dict[bytes, Answer]]:
        """The bases to whose manifests answers count in this round, and by their digests the answers that may be
        repeated in it: to those bases, and to the manifest before."""
        newest = opened.manifest_version
        window = range(newest - max_staleness(self._job, opened.phase), newest)
        self._bases = [
            each for each in self._bases if each.record.phase is opened.phase and each.record.manifest_version in window
        ]
        first = min([newest - 1, *(each.record.manifest_version for each in self._bases)])
        self._answers = {digest: each for digest, each in self._answers.items() if each.base >= first}
        return self._bases, dict(self._answers)


def _plan_of(record: RoundRecord) -> TrainPlan:
    """What the devices of a round were told to do: a strategy may make another plan for each."""
    return open_brief(own_manifest(record.manifest).brief, record.brief_key).plan

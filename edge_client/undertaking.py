"""The work of a round on this device, from the invitation until its answer is in the outbox. No I/O."""

import logging

from edge_client.assignment import Assignment, Step
from edge_client.delivery import Delivery
from edge_client.events import Abandon, Answer, Finished, SaveModel, SavePersonal, StoreOutbox, Train, Work
from edge_client.rounds import declined, goes_on, settled_control
from edge_client.turn import Turn
from edge_client.writer import Writer
from fedloom.wire.messages import Manifest, Phase


class Undertaking:
    """One work at a time, and none while an answer waits for its receipt."""

    def __init__(
        self, turn: Turn, assignment: Assignment, delivery: Delivery, writer: Writer, max_outbox_bytes: int
    ) -> None:
        """An answer that is larger than `max_outbox_bytes`, with what is kept beside it, is declined."""
        self._turn = turn
        self._assignment = assignment
        self._delivery = delivery
        self._writer = writer
        self._max_outbox_bytes = max_outbox_bytes
        self._work: Work | None = None

    @property
    def is_answered(self) -> bool:
        """Whether the newest manifest has this device's answer."""
        manifest = self._assignment.manifest
        return manifest is not None and self._turn.state.answered == manifest.hash

    def goes_on(self, newer: Manifest) -> bool:
        """Whether there is work that counts beside a newer manifest."""
        return self._work is not None and goes_on(self._work, newer)

    def follow(self, newer: Manifest) -> None:
        """Leave the work, if there is any, that does not count beside a newer manifest."""
        if self._work is not None and not goes_on(self._work, newer):
            self._work = None
            self._turn.do(Abandon())

    def advance(self) -> None:
        """Do the next thing that manifest and task allow."""
        if self._work is None and not self.is_answered and self._delivery.entry is None:
            self.take(self._assignment.begin(self._turn.state, self._turn.now_s))

    def take(self, step: Step) -> None:
        """Do what comes next, and begin the work, if everything for it is here."""
        self._turn.do(*step.actions)
        work = step.work
        if work is None:
            return
        if work.manifest.phase is Phase.DONE:
            self._turn.do(SaveModel(work))
            if work.brief.personal is None:
                self._finish(work)
                return
        self._work = work
        if step.unable:
            self.answer(work, declined(step.unable))
        else:
            if changes := settled_control(self._turn.state, work):
                self._turn.persist(**changes)
            self._turn.do(Train(work))

    def answer(self, work: Work, answer: Answer) -> None:
        """Store and send what has come of the work; nothing to do about work that has been left."""
        if self._work is None or work.manifest_hash != self._work.manifest_hash:
            return  # a newer manifest came in the meantime
        self._work = None
        if work.manifest.phase is Phase.DONE:
            self._keep(work, answer)
            return
        entry = self._writer.update(work, answer)
        kept = len(answer.residual or b"") + len(answer.control or b"")
        size, limit = len(entry.blob) + kept, self._max_outbox_bytes
        if size > limit:
            answer = declined(f"an update of {size} bytes is above this device's limits.max_outbox_bytes = {limit}")
            entry = self._writer.update(work, answer)
        if answer.update.declined:
            why = answer.update.declined
            self._turn.log(logging.WARNING, "round.declined round=%d reason=%r", work.manifest.round, why)
        stored = StoreOutbox(entry, answer.residual, answer.control, answer.personal)
        self._turn.do(stored, *self._delivery.put(entry, self._turn.now_s))

    def _keep(self, work: Work, answer: Answer) -> None:
        """The last of a job: what this device has made of the final model for itself."""
        if answer.personal is None:
            self._turn.log(logging.WARNING, "personal.failed reason=%r", answer.update.declined)
        else:
            self._turn.do(SavePersonal(answer.personal))
        self._finish(work)

    def _finish(self, work: Work) -> None:
        self._turn.persist(answered=work.manifest_hash)
        self._turn.do(Finished())

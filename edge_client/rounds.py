"""What a round asks of this device, once manifest and task are here; and the answer that needs no work."""

from typing import NamedTuple

from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.events import Answer, Model, Work
from edge_client.state import DeviceState
from fedloom.errors import Reason, Refused
from fedloom.wire.envelope import Header
from fedloom.wire.messages import MAX_TEXT, Brief, Manifest, Update


class Bounds(NamedTuple):
    """What a federation may make this device hold."""

    max_model_bytes: int
    max_outbox_bytes: int


class Round(NamedTuple):
    """The current manifest, this device's invitation to it, and what is to be done."""

    manifest: BelievedManifest
    task: BelievedTask
    brief: Brief

    def work(self, model: Model | None, state: DeviceState) -> Work:
        """The work, with the model where there is one, and the error-feedback residual of its own job only."""
        body = self.manifest.body
        residual = state.residual if state.residual_job == body.job else b""
        wanted = model if body.model is not None else None
        return Work(body, self.manifest.hash, self.task.body, self.brief, wanted, residual)


class EarlyTask:
    """A task whose manifest has not come yet; one may wait, the latest."""

    def __init__(self) -> None:
        self._task: BelievedTask | None = None

    def keep(self, task: BelievedTask, current: Manifest | None) -> None:
        """Have it wait; `current` is the manifest that we have.

        Raises:
            Refused: OLD.
        """
        if current is not None:
            is_past = task.header.job == current.job and place(task.header) <= (current.round, current.attempt)
            if is_past or task.header.manifest == current.previous:
                raise Refused(Reason.OLD, "a task of a round before")
        early = self._task
        if early and early.header.job == task.header.job and place(task.header) < place(early.header):
            raise Refused(Reason.OLD, "a task of a round before the one that is awaited")
        self._task = task

    def take(self, manifest: bytes) -> BelievedTask | None:
        """The task of the manifest with this hash, if it is the one that waits."""
        if self._task is None or self._task.header.manifest != manifest:
            return None
        task, self._task = self._task, None
        return task


def declined(reason: str) -> Answer:
    """The answer of a device that cannot take part."""
    text = reason if len(reason) <= MAX_TEXT else f"{reason[: MAX_TEXT - 1]}…"
    return Answer(Update(0, 0, 0.0, b"", b"", text))


def place(header: Header) -> tuple[int, int]:
    """Orders the rounds of a job."""
    return header.round, header.attempt

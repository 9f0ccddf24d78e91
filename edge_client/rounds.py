"""What a round asks of this device, once manifest and task are here; and the answer that needs no work."""

from typing import NamedTuple

from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.events import Answer, Model, Work
from edge_client.state import NO_RESIDUAL, DeviceState
from fedloom.errors import Reason, Refused
from fedloom.wire.chunks import MAX_FRAME
from fedloom.wire.envelope import Header
from fedloom.wire.messages import MAX_TEXT, Brief, Manifest, Phase, Update


class Bounds(NamedTuple):
    """What a federation may make this device hold."""

    max_model_bytes: int
    max_outbox_bytes: int
    max_frame_bytes: int = MAX_FRAME
    max_outbox_age_s: float = float("inf")


class Round(NamedTuple):
    """The current manifest, this device's invitation to it, and what is to be done."""

    manifest: BelievedManifest
    task: BelievedTask
    brief: Brief

    def work(self, model: Model | None, state: DeviceState) -> Work:
        """The work, with the model where there is one, and the residual and the variate of its own job only."""
        body = self.manifest.body
        residual = state.residual if state.residual_job == body.job else b""
        wanted = model if body.model is not None else None
        control = current_control(state, body.job, self.task.body.counted)
        return Work(body, self.manifest.hash, self.task.body, self.brief, wanted, residual, control)


def current_control(state: DeviceState, job: bytes, counted: bytes) -> bytes:
    """Which update has made this device's variate, now that the aggregator says which one it has counted last.

    So it is known, whatever became of receipts, and of rounds whose updates were accepted and then not fused. What is
    counted and not here was lost with an older state; the one before it is nearest.
    """
    if not counted:
        return b""
    if counted == state.offered:
        return counted
    return state.control if state.control_job == job else b""


def spoilt_residual(state: DeviceState, newer: Manifest) -> dict[str, bytes]:
    """What the state must say of the residual when a newer manifest comes: nothing, or that there is none any more.

    Of an attempt that was aborted no update is in a model, so what the encoding has lost of it is of no step that was
    made. Where a job waits for its quorum, try after try, each one's would be added to the next.
    """
    is_aborted = newer.closes is not None and newer.closes.outcome == "aborted"
    is_its = state.residual_manifest == newer.previous and newer.phase is not Phase.EXCHANGE
    return NO_RESIDUAL if state.residual and is_aborted and is_its else {}


def settled_control(state: DeviceState, work: Work) -> dict[str, bytes]:
    """What the state must say of the variate before this work offers another; nothing where it does."""
    if work.brief.plan.correction == "none" or not work.task.train:
        return {}
    job = work.manifest.job if work.control else b""
    settled = {"control": work.control, "control_job": job, "offered": b""}
    return settled if any(getattr(state, name) != value for name, value in settled.items()) else {}


def counts_until(manifest: Manifest) -> int:
    """The newest manifest's version beside which an answer to this manifest still counts; 0 in a synchronous round."""
    return manifest.version + manifest.max_staleness if manifest.max_staleness else 0


def outlasts(job: bytes, until: int, newer: Manifest) -> bool:
    """Whether an answer that counts until version `until` still does beside a newer manifest.

    Only those of asynchronous rounds of the same job let older rounds go on.
    """
    return newer.job == job and newer.max_staleness > 0 and newer.version <= until


def goes_on(work: Work, newer: Manifest) -> bool:
    """Whether what comes of this work will count beside a newer manifest."""
    return outlasts(work.manifest.job, counts_until(work.manifest), newer)


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
            here, is_ours = (current.round, current.attempt), task.header.job == current.job
            # What comes after the final evaluation bears the same number: this may be the task of the end.
            is_past = place(task.header) < here or (place(task.header) == here and current.phase is not Phase.EVALUATE)
            if (is_ours and is_past) or task.header.manifest == current.previous:
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

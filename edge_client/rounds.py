"""What a round asks of this device, once manifest and task are here; and the answer that needs no work."""

from typing import NamedTuple

from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.events import Answer, Model, Work
from edge_client.state import DeviceState
from fedloom.wire.envelope import Header
from fedloom.wire.messages import MAX_TEXT, Brief, Update


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


def declined(reason: str) -> Answer:
    """The answer of a device that cannot take part."""
    text = reason if len(reason) <= MAX_TEXT else f"{reason[: MAX_TEXT - 1]}…"
    return Answer(Update(0, 0, 0.0, b"", b"", text))


def place(header: Header) -> tuple[int, int]:
    """Orders the rounds of a job."""
    return header.round, header.attempt

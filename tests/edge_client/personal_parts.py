"""What the tests of personal models share: devices that disagree about labels, and rounds without a federation."""

from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge_client.events import Answer, Model, Work
from edge_client.outbox import StateDirectory
from edge_client.state import OutboxEntry
from edge_client.training import Training
from fedloom import msgpack
from fedloom.data.config import SourceConfig
from fedloom.job.data import Data
from fedloom.learning.layout import Vector
from fedloom.learning.personal import Personal
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.learning.standardise import Standardiser
from fedloom.trust.seal import SealSuite
from fedloom.wire.messages import Brief, Manifest, Phase, Task
from fedloom.wire.model_blob import plain_model, seal_model

SPEC = ModelSpec(inputs=2, outputs=3, hidden=(8,))
DATA = Data(features=("a", "b"), target="y", classes=("u", "v", "w"), standardise=False)
PLAN = TrainPlan(loss="cross_entropy", learning_rate=0.2, batch_size=16, local_epochs=2)
METHODS = {
    "head": Personal(method="head"),
    "ditto": Personal(method="ditto", strength=0.01, epochs=3, learning_rate=0.5),
    "fine_tune": Personal(method="fine_tune", epochs=40, learning_rate=0.5),
}
RUN = b"J" * 16


def never() -> bool:
    return False


def blobs(device: int, samples: int = 120) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Three blobs, whose names each device has turned round by its own number of places."""
    rng = np.random.default_rng(device)
    blob = rng.integers(0, 3, samples)
    x = np.array([[0.0, 2.0], [2.0, -1.0], [-2.0, -1.0]])[blob] + rng.normal(scale=0.4, size=(samples, 2))
    return x, (blob + device) % 3


def make_work(
    weights: Vector,
    personal: Personal | None,
    phase: Phase = Phase.TRAIN,
    number: int = 1,
    run: bytes = RUN,
    standardiser: Standardiser | None = None,
    **brief: Any,
) -> Work:
    """What the session hands to training, for a model (p,)."""
    plain = plain_model(weights, standardiser)
    ref = seal_model(plain, number, bytes(32)).ref
    suite = SealSuite.X25519
    manifest = Manifest(number, bytes(32), run, number, 1, phase, None, suite, b"", 60.0, 0, 0, b"", ref)
    fields = {"job_name": "blobs", "spec": SPEC, "data": DATA, "plan": PLAN, "encoding": "float32", "seed": 0}
    digest = sha256(msgpack.encode(manifest)).digest()
    task = Task(phase is Phase.TRAIN, phase is not Phase.DONE, bytes(32), bytes(32))
    opened = Model(ref.plain_hash, weights, standardiser)
    return Work(manifest, digest, task, Brief(**(fields | {"personal": personal} | brief)), opened, b"")


class Device:
    """Trains on its own blobs, and keeps what it keeps on disk."""

    def __init__(self, number: int, root: Path) -> None:
        self.id = bytes([number]) * 16
        path = root / f"{number}.csv"
        rows = (f"{x[0]:.4f},{x[1]:.4f},{'uvw'[label]}\n" for x, label in zip(*blobs(number), strict=True))
        path.write_text("a,b,y\n" + "".join(rows))
        self.source = SourceConfig(str(path))
        self.directory = StateDirectory(root / f"state-{number}")
        self.directory.hold()
        self.training = self._new_training()

    def _new_training(self) -> Training:
        kept = self.directory.residuals.read, self.directory.controls.read
        return Training(self.source, self.id, *kept, personal=self.directory.personals.read)

    def start_again(self) -> None:
        """As a new process would."""
        self.directory.release()
        self.directory = StateDirectory(self.directory.path)
        self.directory.hold()
        self.directory.tidy(self.directory.read())
        self.training = self._new_training()

    def answer(self, work: Work) -> Answer:
        """Without storing it."""
        answer = self.training.run(work, never)
        assert answer is not None
        return answer

    def entry(self, answer: Answer) -> OutboxEntry:
        """What goes to the outbox."""
        blob = bytes(300) + msgpack.encode(answer.update)
        return OutboxEntry(sha256(blob).digest(), bytes(32), RUN, False, blob)

    def take_part(self, work: Work) -> Answer:
        """A whole round on the device, receipt included."""
        answer = self.answer(work)
        assert answer.update.declined == ""
        entry = self.entry(answer)
        self.directory.store(entry, answer.residual, answer.control, answer.personal)
        self.directory.drop(entry.digest)
        return answer

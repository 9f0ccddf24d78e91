"""An app's run as a job: what manifests, admission, the store and the operator's commands ask of one.

What is learnt, from which data and with which model is the app's business: those parts of the job stand for nothing,
and no device looks at them in an exchange.
"""

import re
from zlib import crc32

from msgspec import json

from fedloom.job import Job
from fedloom.job.data import Data
from fedloom.job.rounds import Rounds
from fedloom.learning.plan import TrainPlan
from fedloom.learning.spec import ModelSpec
from fedloom.wire.records import Scalar

LINGER_S = 2.0
"""How long devices that stay have to take the word that the run is over."""
ANY_SHARE = 1e-9
"""A round gives back whatever has come: how many replies are enough is the strategy's business."""


def exchange_job(name: str, settings: dict[str, Scalar]) -> Job:
    """The job of the app with this name; with other settings it is another one."""
    slug = re.sub(r"[^a-z0-9_-]+", "-", name.lower()).strip("-_")[:57] or "app"
    return Job(
        name=f"flower-{slug}",
        model=ModelSpec(inputs=1, outputs=1),
        data=Data(features=("request",), target="reply", standardise=False),
        training=TrainPlan(loss="mse"),
        seed=crc32(json.encode(sorted(settings.items()))),
        rounds=Rounds(count=1_000_000, devices=1, quorum=ANY_SHARE, deadline_s=LINGER_S, evaluate=0.0),
    )

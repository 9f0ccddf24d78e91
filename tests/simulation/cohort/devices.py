"""The reference: a federation of devices, one after the other, of the parts that `edge_client.training` is made of.

Give it jobs with full batches: then nothing depends on the order of samples.
"""

from collections.abc import Collection

import numpy as np

from edge_client.variate import Variate
from fedloom.data.prepare import Prepared
from fedloom.job import Job
from fedloom.learning.dataset import Dataset
from fedloom.learning.evaluate import evaluate, mean_loss
from fedloom.learning.initialise import initial_weights
from fedloom.learning.layout import Vector
from fedloom.learning.plan import TrainPlan
from fedloom.learning.standardise import Moments
from fedloom.learning.trainer import Trainer
from fedloom.wire.encoding import decode, encode
from fedloom.wire.messages import Update
from strategies import ClientUpdate, UpdatesInMemory, create_for


class Devices:
    """Everybody takes part in each round."""

    def __init__(self, job: Job, clients: list[Prepared], liars: Collection[int] = ()) -> None:
        """`liars` say from the round `attack.start` on that they went the other way: a hostile daemon's one change."""
        moments = [Moments.of(each.train.x) for each in clients]
        standardiser = sum(moments[1:], moments[0]).standardiser()
        self.job = job
        self.train = [Dataset(standardiser.apply(each.train.x), each.train.y) for each in clients]
        self.held = [Dataset(standardiser.apply(each.holdout.x), each.holdout.y) for each in clients]
        self.weights: Vector = initial_weights(job.model, np.random.default_rng(job.seed))
        self.residuals = [np.zeros(job.shared_layout.size, np.float32) for _ in clients]
        self.variates = [b"" for _ in clients]
        self.own: list[Vector] = [self.weights for _ in clients]
        self.strategy = create_for(job, "job.toml")
        self.liars = liars

    def run(self) -> Vector:
        """The last model."""
        shared = self.job.shared_layout.size
        state = self.strategy.initial_state(shared)
        for number in range(1, self.job.rounds.count + 1):
            plan, common = self.strategy.plan(number, self.job.training, state), self.strategy.broadcast(state)
            updates = [self._update(client, plan, common, number) for client in range(len(self.train))]
            fused: Vector
            fused, state = self.strategy.fuse(self.weights[:shared], UpdatesInMemory(updates), state)
            self.weights = np.concatenate([fused, self.weights[shared:]])
        return self.weights

    @property
    def figures(self) -> dict[str, float]:
        """Of the model, over all hold-outs."""
        metrics = [evaluate(self.job.model, self.job.training.loss, self.weights, each) for each in self.held]
        return sum(metrics[1:], metrics[0]).summary()

    @property
    def accuracy(self) -> float:
        """The one of them that is read most."""
        return self.figures["accuracy"]

    def _update(self, client: int, plan: TrainPlan, common: Vector | None, number: int) -> ClientUpdate:
        job, data, rules = self.job, self.train[client], self.job.update
        shared, start = job.shared_layout.size, self.weights
        if job.personal and job.personal.method == "head":
            start = np.concatenate([self.weights[:shared], self.own[client][shared:]])
        if job.personal and job.personal.method == "ditto":
            trainer = Trainer(job.model, job.personal.plan(plan))
            fit = trainer.fit(self.own[client], data, np.random.default_rng(1), anchor=self.weights)
            self.own[client] = fit.weights
        loss = mean_loss(job.model, plan.loss, start, data) if plan.measure_loss else float("nan")
        kept = self.variates[client]
        variate = Variate(plan, np.frombuffer(kept, "<f4") if kept else None, common, self.weights.size)
        fit = Trainer(job.model, plan).fit(start, data, np.random.default_rng(1), None, variate.term)
        if job.personal and job.personal.method == "head":
            self.own[client] = fit.weights
        delta = fit.weights[:shared] - self.weights[:shared]
        attack = job.simulation.attack if job.simulation else None
        lies = attack is not None and client in self.liars and number >= attack.start
        if lies:  # its variate is for itself alone, and goes on from what is true
            true = variate.change(delta, fit.rate_sum)
            told = Update(0, 0, 0.0, delta.tobytes(), b"", "", None, b"" if true is None else true.tobytes())
            self.variates[client] = variate.advanced(told, "float32") or b""
            delta = -attack.strength * delta
        change = variate.change(delta, fit.rate_sum)
        meant = delta + self.residuals[client]
        vector, sent = encode(meant, rules.encoding, rules.options), np.empty_like(meant)
        decode(vector, rules.encoding, sent)
        if rules.error_feedback:
            self.residuals[client] = meant - sent
        control = b"" if change is None else encode(change, rules.encoding, rules.options)
        if not lies:
            told = Update(0, 0, 0.0, vector, b"", "", None, control)
            self.variates[client] = variate.advanced(told, rules.encoding) or b""
        beside = None
        if control:
            decode(control, rules.encoding, beside := np.empty_like(meant))
        return ClientUpdate((client + 1).to_bytes(16, "big"), fit.samples, sent, 0, fit.steps, loss, beside)

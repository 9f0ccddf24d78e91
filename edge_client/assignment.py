"""The round that this device is invited to, as far as its manifest, its task and its model are here. No I/O."""

import logging
from typing import NamedTuple

from edge_client.believe import BelievedManifest, BelievedTask
from edge_client.events import Action, DropDownload, Log, Model, Work
from edge_client.fetch import Fetch
from edge_client.rounds import EarlyTask, Round, place
from edge_client.state import DeviceState
from fedloom.errors import Reason, Refused
from fedloom.wire.brief import open_brief
from fedloom.wire.messages import Phase


class Step(NamedTuple):
    """What comes next: something to do, then perhaps work, for which everything is here."""

    actions: list[Action]
    work: Work | None = None
    unable: str = ""
    """Why this device cannot do that work."""


class Assignment:
    """One round at a time: that of the newest manifest."""

    def __init__(self, fetch: Fetch, max_model_bytes: int) -> None:
        self.manifest: BelievedManifest | None = None
        self._task: BelievedTask | None = None
        self._early = EarlyTask()
        self._model: Model | None = None
        self._fetch = fetch
        self._max_model_bytes = max_model_bytes

    def follow(self, manifest: BelievedManifest) -> list[Action]:
        """A manifest takes the place of the one before."""
        actions = self._fetch.cancel()
        if manifest.is_new:
            model = manifest.body.model
            actions.append(DropDownload(model.cipher_hash if model else b""))
        self.manifest, self._task = manifest, self._early.take(manifest.hash)
        return actions

    def invite(self, task: BelievedTask) -> bool:
        """Take a task; False: it waits for its manifest.

        Raises:
            Refused: OLD.
        """
        if self.manifest is not None and task.header.manifest == self.manifest.hash:
            self._task = task
            return True
        self._early.keep(task, self.manifest.body if self.manifest else None)
        return False

    def begin(self, state: DeviceState, now_s: float) -> Step:
        """The work, or what it still lacks.

        Raises:
            Refused: manifest and task do not belong together, or the brief cannot be opened.
        """
        round_ = self._round()
        if round_ is None:
            return Step([])
        body = round_.manifest.body
        if body.model is None:
            return Step([]) if body.phase is Phase.DONE else self._work(round_, state)
        wanted = body.model.plain_hash, body.model.control_hash
        if self._model is not None and (self._model.plain_hash, self._model.control_hash) == wanted:
            return self._work(round_, state)
        size, limit = body.model.cipher_bytes, self._max_model_bytes
        if size > limit:
            reason = f"a model of {size} bytes is above this device's limits.max_model_bytes = {limit}"
            return self._unable([], round_, state, reason)
        self._model = None  # two would be held otherwise
        return Step(self._fetch.begin(body.model, now_s))

    def downloaded(self, model: bytes, cipher: bytes, state: DeviceState, now_s: float) -> Step:
        """What the disk has of a model; `cipher` is empty where it has spoiled it.

        Raises:
            Refused: see `begin`.
        """
        if not self._fetch.wants(model):
            return Step([])
        return self.open(cipher, state) if cipher else Step(self._fetch.begin_again(now_s))

    def open(self, cipher: bytes, state: DeviceState) -> Step:
        """The model is here; `cipher` is empty where it came in one chunk.

        Raises:
            Refused: see `begin`.
        """
        round_ = self._round()
        if round_ is None:
            return Step([])
        try:
            is_request = round_.manifest.body.phase is Phase.EXCHANGE
            self._model = self._fetch.open(round_.brief, round_.task.body.model_key, cipher, is_request=is_request)
        except Refused as refused:
            return self._unable(self._fetch.cancel(), round_, state, f"the model cannot be opened: {refused}")
        return self._work(round_, state)._replace(actions=self._fetch.cancel())

    def _round(self) -> Round | None:
        """What this device is invited to, once manifest and task are here; a task that is refused is forgotten."""
        if self.manifest is None or self._task is None:
            return None
        body, task, self._task = self.manifest.body, self._task, None
        if (task.header.job, *place(task.header)) != (body.job, body.round, body.attempt):
            raise Refused(Reason.WRONG_ROUND, "the task's round is not its manifest's")
        brief = open_brief(body.brief, task.body.brief_key)
        self._task = task
        return Round(self.manifest, task, brief)

    def _work(self, round_: Round, state: DeviceState) -> Step:
        return Step([], round_.work(self._model, state))

    def _unable(self, actions: list[Action], round_: Round, state: DeviceState, reason: str) -> Step:
        if round_.manifest.body.phase is Phase.DONE:
            self._task = None  # nobody waits for our answer
            return Step([*actions, Log(logging.ERROR, "model.failed reason=%r", (reason,))])
        return Step(actions, round_.work(self._model, state), reason)

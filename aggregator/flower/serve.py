"""Runs a ServerApp beside the aggregator: the app in a thread, the aggregator's loop in the main one."""

import asyncio
import logging
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from flwr.app import Context, RecordDict
from flwr.supercore.task_identity import TaskIdentity

from aggregator.config import Loaded
from aggregator.events import Ended, ExchangeEvent
from aggregator.exchange.courier import Courier
from aggregator.exchange.job import exchange_job
from aggregator.exchange.journal import Journal
from aggregator.flower.app import LoadedApp
from aggregator.flower.grid import ClosedGridError, MqttGrid, Recall
from aggregator.notices import AnyNotice
from aggregator.records import CurrentModel
from aggregator.service import Service
from aggregator.serving import service_for
from aggregator.startup import Parts, assemble_for
from fedloom.errors import FedloomError
from fedloom.flower.nodes import SUPERLINK, run_of
from strategies import create

log = logging.getLogger(__name__)


class ServerAppError(FedloomError):
    """The ServerApp has failed; its own words are in the log."""

    exit_status = 1


async def serve(loaded: Loaded, app: LoadedApp, tell: Callable[[AnyNotice], None], *, resume: bool) -> None:
    """Run the app to its end; `resume` carries an interrupted run on, and keeps what that takes.

    Raises:
        LinkError, StoreError, TrustError: see `Service.run`, `assemble_for`.
        ServerAppError: the app has raised something.
    """
    job = exchange_job(app.name, app.settings)
    strategy = create(job.strategy, job.name)
    nothing = CurrentModel(0, np.empty(0, np.float32), None)
    journal = Journal(loaded.state, loaded.config.retention.journal_bytes) if resume else None
    parts = assemble_for(
        job,
        strategy,
        nothing,
        loaded,
        Courier,
        is_new=lambda store: journal is None or not journal.is_whole(store),
        journal=journal,
    )
    runner = _Runner(app, parts, journal)
    service = service_for(parts, loaded, tell, exit_when_done=True, settle=runner.grid.settle)
    try:
        asyncio.get_running_loop().call_soon(runner.start, service)  # when it runs
        await service.run()
    finally:
        runner.grid.close()
        parts.archive.close()
    if runner.error is not None:
        raise ServerAppError(f"the ServerApp of {app.name} has failed: {runner.error!r}")


class _Runner:
    """The app's thread. It does not keep the process: an app that hangs is left behind when the aggregator ends."""

    def __init__(self, app: LoadedApp, parts: Parts, journal: Journal | None) -> None:
        self.error: BaseException | None = None
        self._app = app
        self._run = run_of(parts.run)
        self._service: Service | None = None
        self._is_repeatable = journal is not None
        recall: Recall = journal.recall if journal else lambda _request, _device: None
        self.grid = MqttGrid(self._run, app.settings, lambda: parts.fleet.ready, self._post, recall)

    def start(self, service: Service) -> None:
        """Begin, now that the aggregator listens."""
        self._service = service
        threading.Thread(target=self._work, name="serverapp", daemon=True).start()

    def _post(self, event: ExchangeEvent) -> None:
        if self._service is not None:
            with suppress(RuntimeError):  # the loop has ended, and waiting for it is over as well
                self._service.post(event)

    def _work(self) -> None:
        TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, self._run, SUPERLINK
        if self._is_repeatable:
            random.seed(self._run)  # with which strategies sample: the same nodes again
        context = Context(self._run, SUPERLINK, {}, RecordDict(), dict(self._app.settings))
        try:
            self._app.server(grid=self.grid, context=context)
        except ClosedGridError:
            return
        except SystemExit as left:  # which a thread would take to its grave, and nobody would hear
            if left.code:
                self.error = ServerAppError(f"it has ended itself with status {left.code}")
        except BaseException as error:  # KeyboardInterrupt and the like included, for the same reason
            log.exception("serverapp.failed app=%s", self._app.name)
            self.error = error
        self._post(Ended())

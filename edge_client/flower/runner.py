"""Hands an exchange's request to the device's Flower app, which runs in a process of its own.

That process is started with the first request and kept for the next ones; it ends when it is idle, and the daemon is as
light as before. A round that is over, a reload or a stop kill it; its context is then what the last answer left.
"""

import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from edge_client.config import Flower
from edge_client.events import Answer, Work
from edge_client.flower.pipe import Call, EndedError, Outcome, receive, send
from edge_client.rounds import declined
from fedloom.errors import Reason, Refused
from fedloom.flower.nodes import node_of
from fedloom.wire import envelope, records
from fedloom.wire.messages import MAX_TEXT, Update

CHILD = (sys.executable, "-m", "edge_client.flower.child")
POLL_S = 0.25
"""How often we look whether the round is still wanted."""
UNKNOWN, CRASHED = 0, 8
"""Of Flower's ErrorCode."""
AROUND_BYTES = envelope.MAX_OVERHEAD_BYTES + 64
"""Of an update, all but the reply."""
NO_APP = "this device runs no Flower app: its configuration has no [flower] table"

log = logging.getLogger("fedloom.edge")


class FlowerRunner:
    """Does the exchanges of one device."""

    def __init__(
        self,
        config: Flower | None,
        device: bytes,
        context: Callable[[bytes], bytes],
        max_bytes: int,
        command: Sequence[str] = CHILD,
    ) -> None:
        """`context(name)` reads a stored context, empty where it is lost; `max_bytes` bounds what the app may say.

        `command` starts the app's process.
        """
        self._config = config
        self._device = device
        self._context = context
        self._max_bytes = max_bytes
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, work: Work, should_stop: Callable[[], bool]) -> Answer | None:
        """The app's reply, or why this device has none; None if `should_stop` ended it."""
        if self._config is None:
            return declined(NO_APP)
        assert work.model is not None  # noqa: S101 - for the type checker: an exchange has a request
        try:
            request = records.read_request(work.model.request)
        except Refused as refused:
            return declined(f"the request cannot be read: {refused}")
        log.debug("app.called kind=%s group=%r", request.kind, request.group)
        try:
            outcome = self._ask(self._config, work, should_stop)
        except OSError as error:
            self.close()
            return declined(f"the app cannot be asked ({error.strerror})")
        except EndedError:
            self.close()
            log.warning("app.crashed app=%s", self._config.app)
            return _failed(CRASHED, "the app's process has ended", None)
        except Refused as refused:
            self.close()
            bound = f"; limits.max_outbox_bytes is {self._max_bytes}" if refused.reason is Reason.TOO_LARGE else ""
            return declined(f"what the app says is not accepted: {refused}{bound}")
        if outcome is None:
            self.close()
            return None
        try:
            records.read_reply(outcome.reply)
        except Refused as refused:
            return _failed(UNKNOWN, f"the app's reply cannot be sent: {refused}", outcome.context)
        size, most = len(outcome.reply) + AROUND_BYTES, work.task.max_update_bytes
        if 0 < most < size:
            said = f"the app's reply takes {size} bytes, limits.max_update_bytes of the aggregator is {most}"
            return _failed(UNKNOWN, said, outcome.context)
        return _answer(outcome.reply, outcome.context)

    def close(self) -> None:
        """End the app's process."""
        process, self._process = self._process, None
        if process is None:
            return
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # and what it has started: an app's data loaders are processes
        for pipe in (process.stdin, process.stdout):
            if pipe:
                pipe.close()
        process.wait()

    def _ask(self, config: Flower, work: Work, should_stop: Callable[[], bool]) -> Outcome | None:
        process = self._running(config)
        assert process.stdin is not None  # noqa: S101 - for the type checker: both are pipes
        assert process.stdout is not None  # noqa: S101
        assert work.model is not None  # noqa: S101
        call = Call(
            app=config.app,
            directory=config.directory,
            node=node_of(self._device),
            node_config=config.node_config,
            message_id=work.manifest_hash.hex(),
            request=work.model.request,
            context=self._context(work.residual) if work.residual else b"",
        )
        send(process.stdin.fileno(), call)
        return receive(process.stdout.fileno(), Outcome, self._max_bytes, POLL_S, lambda: not should_stop())

    def _running(self, config: Flower) -> subprocess.Popen[bytes]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self.close()
        self._process = subprocess.Popen(
            [*self._command, str(config.idle_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            process_group=0,
        )
        return self._process


def _answer(reply: bytes, context: bytes | None) -> Answer:
    return Answer(Update(0, 0, 0.0, reply, b"", ""), residual=context)


def _failed(code: int, reason: str, context: bytes | None) -> Answer:
    return _answer(records.encode(records.Reply(None, code, reason[:MAX_TEXT])), context)

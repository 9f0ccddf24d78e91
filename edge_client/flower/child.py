"""The app's process, `python -m edge_client.flower.child`: calls on standard input, outcomes on standard output.

What the app prints goes to standard error. Nothing that the app does ends the daemon; what the daemon does not believe
of its words becomes a refusal there.
"""

import os
import signal
import sys
import threading
import time

from edge_client.flower.pipe import Call, EndedError, Outcome, receive, send
from fedloom.wire import records
from fedloom.wire.records import Reply

MAX_CALL_BYTES = 2**31
ORPHAN_S = 1.0
"""How often we look whether the daemon is there."""
LOAD_FAILED = 1
"""Flower's ErrorCode.LOAD_CLIENT_APP_EXCEPTION."""


def serve(calls: int, outcomes: int, idle_s: float) -> None:
    """Answer calls until there are none for `idle_s` seconds."""
    while True:
        try:
            call = receive(calls, Call, MAX_CALL_BYTES, idle_s, lambda: False)
            if call is None:
                return
            send(outcomes, _answer(call))
        except EndedError:
            return


def _answer(call: Call) -> Outcome:
    try:
        from edge_client.flower.host import answer
    except ImportError as error:
        reason = f"{error.name} is not installed on the device; run there: pip install 'fedloom[flower]'"
        return Outcome(records.encode(Reply(None, LOAD_FAILED, reason)), None)
    return answer(call)


def _leave_with(parent: int) -> None:
    """An app that still trains when its daemon was killed would stand in the way of the next one's."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_S)
    os.killpg(0, signal.SIGKILL)  # with all that it has started: see FlowerRunner, which gives it a group of its own


def main() -> None:
    """Keep the pipes for ourselves: an app may read standard input, and prints."""
    calls, outcomes = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    threading.Thread(target=_leave_with, args=(os.getppid(),), daemon=True).start()
    serve(calls, outcomes, float(sys.argv[1]))


if __name__ == "__main__":
    main()

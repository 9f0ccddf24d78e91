"""Has a Flower ClientApp answer a request. Imported in the app's own process alone."""

import os
import time
import traceback

from flwr.app import Context, Message, Metadata, RecordDict
from flwr.app.message.message import make_message
from flwr.clientapp import ClientApp
from flwr.common.constant import ErrorCode
from flwr.supercore.object_ref import load_app
from flwr.supercore.task_identity import TaskIdentity

from edge_client.flower.pipe import Call, Outcome
from fedloom.errors import Refused
from fedloom.flower.convert import from_wire, to_wire
from fedloom.flower.nodes import SUPERLINK
from fedloom.wire import records
from fedloom.wire.messages import MAX_TEXT
from fedloom.wire.records import Reply, Request


class _LoadError(Exception):
    """The configuration names no ClientApp."""


class _ContextError(Exception):
    """What the app has left in its context could not be read again: no later message would be answered."""


def answer(call: Call) -> Outcome:
    """Have the app answer a request; whatever goes wrong there becomes an error reply."""
    try:
        app = _load(call)
    except Exception as error:  # noqa: BLE001 - importing an app runs its code
        return _failed(ErrorCode.LOAD_CLIENT_APP_EXCEPTION, "the ClientApp cannot be loaded", error)
    try:
        request = records.read_request(call.request)
        context = _context(call, request)
        reply = app(_message(call, request), context)
        if reply.has_error():
            return _said(reply.error.code, reply.error.reason or "")
        return Outcome(records.encode(Reply(to_wire(reply.content))), _kept(context))
    except _ContextError as error:
        return _said(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, f"the ClientApp's context cannot be kept: {error}")
    except Exception as error:  # noqa: BLE001 - an app may raise anything
        return _failed(ErrorCode.CLIENT_APP_RAISED_EXCEPTION, "the ClientApp has failed", error)


def _load(call: Call) -> ClientApp:
    os.chdir(call.directory)
    app = load_app(call.app, _LoadError, call.directory)
    if not isinstance(app, ClientApp):
        raise _LoadError(f"{call.app} is a {type(app).__name__}, not a ClientApp")
    return app


def _message(call: Call, request: Request) -> Message:
    TaskIdentity.task_id, TaskIdentity.run_id, TaskIdentity.node_id = 0, request.run, call.node
    metadata = Metadata(
        run_id=request.run,
        message_id=call.message_id,
        src_node_id=SUPERLINK,
        dst_node_id=call.node,
        reply_to_message_id="",
        group_id=request.group,
        created_at=time.time(),
        ttl=request.ttl_s,
        message_type=request.kind,
    )
    return make_message(metadata=metadata, content=from_wire(request.content))


def _context(call: Call, request: Request) -> Context:
    state = from_wire(records.read_records(call.context)) if call.context else RecordDict()
    return Context(request.run, call.node, dict(call.node_config), state, dict(request.settings))


def _kept(context: Context) -> bytes:
    state = records.encode(to_wire(context.state))
    try:
        records.read_records(state)
    except Refused as refused:
        raise _ContextError(str(refused)) from None
    return state


def _failed(code: int, what: str, error: Exception) -> Outcome:
    """The server hears what kind of error it was; its words, which may hold what the data hold, stay in this log."""
    traceback.print_exception(error)
    reason = f"{what}: {type(error).__name__}; the device's log says more"
    return _said(code, reason)


def _said(code: int, reason: str) -> Outcome:
    return Outcome(records.encode(Reply(None, code, reason[:MAX_TEXT])), None)

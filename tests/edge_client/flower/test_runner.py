"""The daemon's side of an app: whatever the app's process does, the daemon goes on, and says what happened."""

import os
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import pytest

from edge_client.config import Flower
from edge_client.events import Model
from edge_client.flower.pipe import Call, EndedError, Outcome, receive, send
from edge_client.flower.runner import CRASHED, NO_APP, FlowerRunner
from fedloom.errors import Reason, Refused
from fedloom.wire import records
from fedloom.wire.messages import Task
from fedloom.wire.records import Array, ArrayRecord, MetricRecord, Reply, Request

REQUEST = records.encode(Request("train", "1", 7, 60.0, {"lr": 0.1}, {"m": MetricRecord({"n": 1})}))
CONFIG = Flower("app:app", "/", {"n": 3})

DEADLINE_S = 60.0

ECHO = """
import sys
from edge_client.flower.pipe import Call, Outcome, receive, send
from fedloom.wire import records
from fedloom.wire.records import MetricRecord, Reply
number = 0
while True:
    call = receive(0, Call, 2**20, 60, lambda: False)
    number += 1
    figures = {"calls": number, "n": call.node_config["n"], "context": len(call.context)}
    send(1, Outcome(records.encode(Reply({"m": MetricRecord(figures)})), call.context + b"x"))
"""


class FakeWork(NamedTuple):
    model: Model
    task: Task = Task(False, False, bytes(32), bytes(32))
    manifest_hash: bytes = b"h" * 32
    residual: bytes = b""


def work(request: bytes = REQUEST, residual: bytes = b"", max_update_bytes: int = 0) -> Any:
    task = Task(False, False, bytes(32), bytes(32), max_update_bytes=max_update_bytes)
    return FakeWork(Model(b"", np.empty(0, np.float32), None, request=request), task, residual=residual)


@pytest.fixture
def make_runner():
    made = []

    def make(script: str, config: Flower | None = CONFIG, max_bytes: int = 2**20, **contexts: bytes) -> FlowerRunner:
        command = (sys.executable, "-c", script)
        read = {name.encode(): context for name, context in contexts.items()}.__getitem__
        made.append(FlowerRunner(config, b"D" * 16, read, max_bytes, command))
        return made[-1]

    yield make
    for runner in made:
        runner.close()


def said(answer: Any) -> Reply:
    assert not answer.update.declined
    return records.read_reply(answer.update.vector)


def test_one_process_answers_one_request_after_the_other(make_runner):
    runner = make_runner(ECHO, context=b"12345")
    first = runner.run(work(), lambda: False)
    assert said(first) == Reply({"m": MetricRecord({"calls": 1, "n": 3, "context": 0})})
    assert first.residual == b"x"
    again = runner.run(work(residual=b"context"), lambda: False)
    assert said(again) == Reply({"m": MetricRecord({"calls": 2, "n": 3, "context": 5})})
    assert again.residual == b"12345x"


def test_a_device_without_an_app_says_so(make_runner):
    assert make_runner(ECHO, None).run(work(), lambda: False).update.declined == NO_APP


def test_a_process_that_cannot_be_started_is_declined():
    runner = FlowerRunner(CONFIG, b"D" * 16, lambda _name: b"", 2**20, ("/nowhere/python",))
    assert "cannot be asked (No such file" in runner.run(work(), lambda: False).update.declined


def test_a_request_that_cannot_be_read_is_declined(make_runner):
    assert "cannot be read" in make_runner(ECHO).run(work(b"\xc1"), lambda: False).update.declined


@pytest.mark.parametrize("script", ["", "import os; os.kill(os.getpid(), 9)", "import os; os.read(0, 9)"])
def test_a_process_that_dies_is_an_error_and_the_next_request_starts_another(make_runner, script):
    runner = make_runner(script)
    for _ in range(2):
        answer = runner.run(work(), lambda: False)
        assert said(answer).code == CRASHED
        assert answer.residual is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("import os; os.write(1, b'\\xff' * 8 + b'x' * 99)", "bytes; limits.max_outbox_bytes is 1048576"),
        ("import os; os.write(1, b'\\0' * 7 + b'\\1' + b'x')", "malformed"),
    ],
)
def test_nonsense_of_the_process_is_declined(make_runner, script, words):
    script += "; import time; time.sleep(60)"
    assert words in make_runner(script).run(work(), lambda: False).update.declined


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (Reply({"m": MetricRecord({"loss": float("nan")})}), "non_finite: m.loss"),
        (Reply({"m": MetricRecord({"loss": [1, 2.0]})}), "malformed: m.loss"),
    ],
)
def test_a_reply_that_nobody_would_take_becomes_an_error_and_the_app_goes_on(make_runner, reply, words):
    content = records.encode(reply)
    runner = make_runner(ECHO.replace('records.encode(Reply({"m": MetricRecord(figures)}))', repr(content)))
    for _ in range(2):
        answer = runner.run(work(), lambda: False)
        assert said(answer).content is None
        assert said(answer).reason.startswith(f"the app's reply cannot be sent: {words}")
        assert answer.residual == b"x"
        process = runner._process
    assert process.poll() is None


def test_a_reply_that_the_aggregator_would_drop_unseen_becomes_an_error(make_runner):
    content = records.encode(Reply({"a": ArrayRecord({"w": Array.of(np.zeros(1000, np.float32))})}))
    runner = make_runner(ECHO.replace('records.encode(Reply({"m": MetricRecord(figures)}))', repr(content)))
    answer = runner.run(work(max_update_bytes=4096), lambda: False)
    assert re.fullmatch(
        r"the app's reply takes \d+ bytes, limits.max_update_bytes of the aggregator is 4096", said(answer).reason
    )
    assert answer.residual == b"x"
    assert runner.run(work(max_update_bytes=8192), lambda: False).update.vector == content


def test_work_that_is_not_wanted_any_more_ends_the_process(make_runner):
    runner = make_runner("import time; time.sleep(600)")
    asked = []
    assert runner.run(work(), lambda: bool(asked.append(1)) or len(asked) > 1) is None
    assert runner._process is None


def test_what_the_app_has_started_ends_with_it(make_runner, tmp_path):
    """It holds the other end of a pipe, which is at its end when nobody does."""
    path = tmp_path / "pipe"
    os.mkfifo(path)
    start = f"import subprocess; subprocess.Popen(['sleep', '600'], stdout=open({str(path)!r}, 'wb'))"
    runner = make_runner(f"{start}\n{ECHO}")
    with ThreadPoolExecutor(1) as other:
        opened = other.submit(path.open, "rb")
        runner.run(work(), lambda: False)
        with opened.result(DEADLINE_S) as pipe:
            runner.close()
            assert other.submit(pipe.read).result(DEADLINE_S) == b""


def test_without_flwr_the_reply_says_what_is_missing(make_runner):
    blocked = "import sys; sys.modules['flwr'] = None; sys.argv = ['', '1'];"
    runner = make_runner(f"{blocked} from edge_client.flower import child; child.main()")
    reply = said(runner.run(work(), lambda: False))
    assert (reply.code, reply.content) == (1, None)
    assert "fedloom[flower]" in reply.reason


@pytest.fixture
def pipe():
    read, write = os.pipe()
    yield read, write
    os.close(read)


def test_messages_pass_the_pipe_whole(pipe):
    read, write = pipe
    calls = [Call("a:b", "/", 2, {"n": 1.5}, "id", b"r" * size, b"c") for size in (0, 10, 20_000)]
    for call in calls:
        send(write, call)
    assert [receive(read, Call, 2**20, 1.0, lambda: True) for _ in calls] == calls
    os.close(write)
    with pytest.raises(EndedError):
        receive(read, Call, 2**20, 1.0, lambda: True)


def test_a_message_is_not_read_beyond_its_bound(pipe):
    read, write = pipe
    send(write, Outcome(b"r" * 100, None))
    os.close(write)
    with pytest.raises(Refused) as caught:
        receive(read, Outcome, 50, 1.0, lambda: True)
    assert caught.value.reason is Reason.TOO_LARGE

"""A registrar behind the proxy, and devices that join, are renewed and follow root documents, under one script each."""

import contextlib
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from hashlib import sha256
from pathlib import Path
from unittest import mock

from adversary.arena import wait_until
from adversary.enrolling import ForgeRequests
from adversary.entry_audit import WISH, Entrant, EntryAuditor, read_entries
from adversary.fleet import PATIENCE_S, logged
from adversary.proxy import Proxy, Script
from aggregator import keys as aggregator_keys
from aggregator.enrolment import tokens
from aggregator.enrolment.decisions import Enrolments
from aggregator.enrolment.provision import new_device
from aggregator.keys import init
from aggregator.roots import changes as root_changes
from aggregator.store import open_store
from edge_client import joining
from edge_client.config import load_config
from edge_client.join import Joiner
from edge_client.join_directory import JoinDirectory
from edge_client.shell import Daemon
from fedloom.errors import Reason
from fedloom.trust.device_keys import load_device_keys, load_root
from fedloom.trust.documents import Credential
from fedloom.trust.seal import SealKey
from fedloom.trust.tokens import Broker, TlsMode, Token, read_token, write_token
from simulation.broker import BrokerKind, start_broker
from simulation.children import die_with_parent

DAY_S = 86_400
KEEPERS = ("keeper-1", "keeper-2")
"""Devices that run all the time, each a process."""
TOKENS, TO_APPROVE, DUE = 60, 2, 12
ASK_S = 0.5
"""Joins in our own process ask again after about this time; those in a process of their own take longer."""
_RUN = ("-m", "fedloom.command")
_CONFIG = """
job = "job.toml"
state = "state"
[log]
level = "debug"
[broker]
host = "{host}"
port = {port}
"""
_JOB = """
name = "line"
[model]
inputs = 1
outputs = 1
[data]
features = ["x"]
target = "y"
[training]
loss = "mse"
[rounds]
count = 1
devices = 1000
"""


class Watched(Joiner):
    """A join whose refusals can be read."""

    refusals: Counter[Reason]

    def _run(self, core: joining.Joining) -> Credential:
        self.refusals = core.refusals
        return super()._run(core)


class Entrance:
    """Broker, proxy, aggregator and two devices; a context manager."""

    def __init__(self, directory: Path, broker: BrokerKind = "auto", seed: int = 7) -> None:
        directory.mkdir(parents=True)
        self.directory = directory
        self.state = directory / "state"
        self.is_sound = True
        """False from the first script that was not survived."""
        self._kind = broker
        self._seed = seed
        self._rig = contextlib.ExitStack()
        self._children: list[subprocess.Popen[bytes]] = []
        self._aggregator: subprocess.Popen[bytes]
        self._entrants: list[Entrant] = []
        self._forged: list[SealKey] = []
        self._out = directory / "aggregator.out"

    def __enter__(self) -> "Entrance":
        try:
            self._start()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for child in self._children:
            child.terminate()
        for child in self._children:
            child.wait(PATIENCE_S)
        self._rig.close()

    def _start(self) -> None:
        for name, value in (("ASK_FIRST_S", ASK_S / 2), ("ANSWER_TIME_S", ASK_S)):
            self._rig.enter_context(mock.patch.object(joining, name, value))
        self._rig.enter_context(logged(self.directory / "own.log"))
        (self.directory / "data.csv").write_text("x,y\n1,2\n")
        (self.directory / "job.toml").write_text(_JOB)
        real = self._rig.enter_context(start_broker(self.directory, self._kind))
        self.proxy = self._rig.enter_context(Proxy((real.host, real.port), (), self._seed))
        self.broker = Broker(*self.proxy.address, TlsMode.NONE)
        (self.directory / "aggregator.toml").write_text(_CONFIG.format(host=self.broker.host, port=self.broker.port))
        init(self.state)
        for name in KEEPERS:
            self._entrants.append(Entrant(self._due(name), None))
        self.due = [self._due(f"sleeper-{number}") for number in range(DUE)]
        self.tokens, self.to_approve = self._tokens(TOKENS), self._tokens(TO_APPROVE, "--approve")
        root_changes.rotate(self.state)  # whoever comes has a second version to follow to
        self._aggregator_id = aggregator_keys.load(self.state).id.hex()
        self._made = (*self.tokens, *self.to_approve)
        self._auditor = self.new_auditor()
        self._pool = self._rig.enter_context(ThreadPoolExecutor(16))
        self._start_aggregator()
        for name in KEEPERS:
            config = self.directory / name / "edge.toml"
            command = ["-m", "edge_client", "run", "--config", str(config), "--log-level", "debug"]
            self._children.append(self._spawn(name, command))
        self._await_ready()
        self.audit()

    def _due(self, name: str) -> Path:
        """A device whose credential ran out yesterday; returns its keys."""
        out, long_ago_s = self.directory / name, time.time() - 31 * DAY_S
        with mock.patch("time.time", return_value=long_ago_s):
            new_device(self.state, name, out, broker=self.broker, data=str(self.directory / "data.csv"))
        return out / "keys"

    def _tokens(self, count: int, *options: str) -> list[Token]:
        command = [sys.executable, *_RUN, "token", "new", "--count", str(count), *options]
        made = subprocess.run(command, cwd=self.directory, capture_output=True, text=True, timeout=PATIENCE_S)
        assert made.returncode == 0, made.stderr
        return [read_token(line) for line in made.stdout.split()]

    def _spawn(self, name: str, command: Sequence[str], out: Path | None = None) -> "subprocess.Popen[bytes]":
        with (
            (self.directory / f"{name}.log").open("ab") as log,
            (out or self.directory / f"{name}.log").open("ab") as stdout,
        ):
            return subprocess.Popen(
                [sys.executable, *command],
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=log,
                preexec_fn=die_with_parent(),
            )

    def _start_aggregator(self) -> None:
        self._aggregator = self._spawn("aggregator", [*_RUN, "aggregator", "run", "--json"], self._out)
        self._children.append(self._aggregator)

    def rotate(self) -> None:
        """The next root document, as an operator makes it."""
        self._aggregator.terminate()
        self._aggregator.wait(PATIENCE_S)
        self._children.remove(self._aggregator)
        said = self._out.stat().st_size
        root_changes.rotate(self.state)
        self._start_aggregator()
        wait_until(lambda: b'"event":"aggregator"' in self._out.read_bytes()[said:])

    def _await_ready(self) -> None:
        wanted = b'"event":"ready","devices":%d' % len(KEEPERS)
        wait_until(lambda: wanted in self._out.read_bytes())
        wait_until(lambda: all(is_fresh(self.directory / name / "keys") for name in KEEPERS))
        newest = len(self.documents)
        wait_until(lambda: all(load_root(self.directory / name / "keys").version == newest for name in KEEPERS))

    @property
    def entrants(self) -> Sequence[Entrant]:
        """The devices that take part; the newest is the last."""
        return self._entrants

    @property
    def documents(self) -> tuple[bytes, ...]:
        """The root documents from version 1 on."""
        return tuple(aggregator_keys.load(self.state).documents)

    def audit(self) -> None:
        """Check the invariants.

        Raises:
            AssertionError: one of them is broken.
        """
        assert not self.proxy.errors, self.proxy.errors
        assert all(child.poll() is None for child in self._children), "a process has ended"
        captured = [each for each in self.proxy.captured() if each]
        assert captured, "nothing was captured"
        self.check(self._auditor, captured)

    def check(self, auditor: EntryAuditor, captured: Sequence[bytes] = ()) -> None:
        """Check the invariants of all devices that there are.

        Raises:
            AssertionError: one of them is broken.
        """
        asleep = [Entrant(each, None) for each in self.due]
        auditor.check([*self._entrants, *asleep], self.documents, self._forged, captured)

    def new_auditor(self) -> EntryAuditor:
        """One that has seen nothing yet."""
        return EntryAuditor(self.directory, self.state, self.proxy, sha256(self.documents[0]).digest(), self._made)

    def follow(self, script: Script) -> None:
        """The script is on."""
        if isinstance(script, ForgeRequests):
            self._forged = script.seals
        self.proxy.follow(script)

    def let_go(self, *, reconnects: bool = False) -> None:
        """The script is off; all connect anew where that is needed."""
        self.proxy.follow(Script())
        if reconnects:
            self.proxy.hang_up(*(each for each in self.proxy.clients if each != self._aggregator_id))

    def place(self, token: Token) -> Path:
        """Where the device of a token joins."""
        return self.directory / f"device-{token.id.hex()[:8]}"

    def begin_join(self, token: Token, *, is_process: bool) -> "Future[Counter[str]]":
        """Have a device join; the result is what it has refused."""
        if is_process:
            return self._pool.submit(self._finish, self.join_process(token))
        joiner = Watched(token, JoinDirectory(self.place(token)), lambda _: None)
        return self._pool.submit(self._join, joiner)

    def _join(self, joiner: Watched) -> Counter[str]:
        joiner.join(WISH, "data.csv", PATIENCE_S)
        return Counter({f"device: {reason.value}": count for reason, count in joiner.refusals.items()})

    def join_process(self, token: Token) -> "subprocess.Popen[bytes]":
        """`fedloom-edge join`, which gets its token through a file that is for its owner alone."""
        text = self.directory / f"{token.id.hex()[:8]}.token"
        text.touch(0o600)
        text.write_text(write_token(token))
        directory = str(self.place(token))
        return self._spawn("join", ["-m", "edge_client", "join", str(text), "--dir", directory, "--name", WISH])

    def _finish(self, process: "subprocess.Popen[bytes]") -> Counter[str]:
        assert process.wait(PATIENCE_S) == 0, (self.directory / "join.log").read_text()[-500:]
        return Counter()

    def has_joined(self, token: Token) -> bool:
        """As the device sees it."""
        return (self.place(token) / "keys" / "credential").exists()

    def came_in(self, token: Token) -> None:
        """From now on it is one of the devices."""
        self._entrants.append(Entrant(self.place(token) / "keys", token))

    def state_of(self, token: Token) -> str:
        """As the registrar's books have it."""
        return read_entries(self.state).tokens[token.id][0]

    def wake(self) -> Path:
        """Another device whose credential is due; returns its keys."""
        self._entrants.append(Entrant(self.due.pop(), None))
        return self._entrants[-1].keys

    def approve(self, token: Token) -> None:
        """As an operator does."""
        with open_store(self.state) as store:
            tokens.decide_pending(store, token.id.hex(), is_approved=True)

    def renew_later(self, keys: Path) -> None:
        """The registrar's word of 25 days from now: another credential, for the same device."""
        own = aggregator_keys.load(self.state)
        device = load_device_keys(keys).id
        with open_store(self.state) as store:
            (grant,) = Enrolments(store, own, 30, lambda count: bytes(count)).renew([device], time.time() + 25 * DAY_S)
        assert grant.is_new

    def look(self) -> None:
        """Have the aggregator look at what other processes wrote: it does so every second anyway."""
        self._aggregator.send_signal(signal.SIGHUP)

    @contextlib.contextmanager
    def awake(self, keys: Path) -> Iterator[Daemon]:
        """A device runs, in our own process."""
        config = keys.parent / "edge.toml"
        daemon = Daemon(load_config(config), partial(load_config, config))
        thread = threading.Thread(target=daemon.run, name=config.parent.name)
        thread.start()
        try:
            yield daemon
        finally:
            daemon.stop()
            thread.join(PATIENCE_S)
            assert not thread.is_alive()

    def keepers_logs(self) -> list[str]:
        """What each of them has logged."""
        return [(self.directory / f"{name}.log").read_text() for name in KEEPERS]


def is_fresh(keys: Path) -> bool:
    """Whether the credential was renewed."""
    return load_device_keys(keys).credential.not_after > time.time()

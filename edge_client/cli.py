"""The command `fedloom-edge`. What a subcommand needs is imported when it runs, numpy after its threads are set."""

import argparse
import os
import sys
from pathlib import Path

from fedloom import __version__, failpoints
from fedloom.errors import FedloomError

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_EXAMPLES = """\
examples:
  fedloom-edge join - < token.txt                         join a federation; the token does not show in ps
  fedloom-edge check --config edge.toml --job job.toml    is everything in place?
  fedloom-edge run --config edge.toml                     take part, until SIGTERM
  fedloom-edge run --config edge.toml --exit-when-done    take part in one job
  fedloom-edge status --config edge.toml --json           how is it?
  fedloom-edge doctor --config edge.toml                  what is wrong?
  fedloom-edge repair --config edge.toml                  mend a state directory that is damaged

exit status: 0 done, 2 wrong input (configuration, keys, data), 1 anything else, as a broker that refuses
"""


_JOIN = """\
Makes this device's keys and has the registrar let it in. Give the token through standard input or a file: arguments
show in the list of processes. Interrupted at any point, the same command goes on; after success it changes nothing.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    options = _parser().parse_args(arguments)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    try:
        failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
        return _COMMANDS[options.command](options)
    except FedloomError as error:
        print(f"fedloom-edge: error: {error}", file=sys.stderr)  # noqa: T201 - the command's own output
        return error.exit_status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="fedloom-edge",
        description="Trains on this device's data and sends encrypted updates to its federation.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"fedloom-edge {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    join = commands.add_parser("join", help="join a federation with a token", description=_JOIN)
    join.add_argument("token", metavar="TOKEN", help="the token, a file that holds it, or - for standard input")
    join.add_argument("--dir", type=Path, default=Path(), help="where keys/ and edge.toml go (default: here)")
    join.add_argument("--name", help="what the device would like to be called (default: this host's name)")
    join.add_argument("--data", default="data.csv", metavar="FILE", help="its data, for edge.toml (default: data.csv)")
    join.add_argument("--timeout", type=_seconds, default=300.0, metavar="SECONDS", help="give up then (default: 300)")
    join.add_argument("--json", action="store_true", help="print one JSON object")
    run = _command(commands, "run", "take part in the federation's jobs until SIGTERM; SIGHUP reloads")
    run.add_argument("--exit-when-done", action="store_true", help="end when a job's final model is saved")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="instead of log.level")
    run.add_argument("--json", action="store_true", help="log JSON objects, as log.json = true does")
    check = _command(commands, "check", "look at configuration, keys and data, and say what is there")
    check.add_argument("--job", type=Path, metavar="FILE", help="read the data as this job would")
    status = _command(commands, "status", "say how the device is, from its state directory")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    doctor = _command(commands, "doctor", "check clock, keys, disk and broker, and say what to do; 1 if anything fails")
    doctor.add_argument("--json", action="store_true", help="print one JSON list")
    repair = _command(
        commands, "repair", "set damaged state aside, say what that costs, and make the device start again"
    )
    repair.add_argument("--yes", action="store_true", help="do not ask")
    repair.add_argument("--restored", action="store_true", help="the state directory was restored from an old copy")
    repair.add_argument("--json", action="store_true", help="print one JSON list of what was done")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the device's TOML file")
    return command


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0.0 < seconds < 1e9:
        raise ValueError
    return seconds


def _join(options: argparse.Namespace) -> int:
    import time

    import msgspec

    from edge_client import join, logs
    from edge_client.config import Log
    from edge_client.join_directory import JoinDirectory
    from edge_client.join_errors import AGAIN, NotJoinedError

    def say(text: str) -> None:
        print(f"fedloom-edge: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the command's own output

    logs.set_up(Log(level="error"))
    token, name = join.find_token(options.token), join.wanted_name(options.name)
    try:
        outcome = join.Joiner(token, JoinDirectory(options.dir), say).join(name, options.data, options.timeout)
    except KeyboardInterrupt:
        raise NotJoinedError(f"interrupted; to go on, {AGAIN}") from None
    if options.json:
        text = msgspec.json.encode(outcome).decode()
    else:
        until = time.strftime("%Y-%m-%d", time.gmtime(outcome.valid_until))
        text = f"device {outcome.device} ({outcome.name}) has joined federation {outcome.federation}"
        text += f"; its credential is renewed before {until}" if outcome.is_new else " already"
        text += f"\nnext: fedloom-edge run --config {outcome.config}"
    print(text)  # noqa: T201 - the command's own output
    return 0


def _run(options: argparse.Namespace) -> int:
    from edge_client.memory import keep_small

    keep_small()

    import msgspec

    from edge_client import logs
    from edge_client.config import EdgeConfig, load_config
    from edge_client.shell import Daemon

    def read_config() -> EdgeConfig:
        config = load_config(options.config)
        level, json = options.log_level or config.log.level, options.json or config.log.json
        return msgspec.structs.replace(config, log=msgspec.structs.replace(config.log, level=level, json=json))

    config = read_config()
    logs.set_up(config.log)
    daemon = Daemon(config, read_config, exit_when_done=options.exit_when_done)
    daemon.catch_signals()
    daemon.run()
    return 0


def _check(options: argparse.Namespace) -> int:
    from edge_client.config import load_config
    from edge_client.inspection import check

    print("\n".join(check(load_config(options.config), options.job)))  # noqa: T201 - the command's own output
    return 0


def _status(options: argparse.Namespace) -> int:
    import msgspec

    from edge_client.config import load_config
    from edge_client.inspection import status

    found = status(load_config(options.config))
    if options.json:
        text = msgspec.json.encode(found).decode()
    else:
        shown = msgspec.structs.asdict(found).items()
        text = "\n".join(f"{name.replace('_', ' ')}: {value if value != '' else 'none'}" for name, value in shown)
    print(text)  # noqa: T201 - the command's own output
    return 0


def _doctor(options: argparse.Namespace) -> int:
    import msgspec

    from edge_client.config import load_config
    from edge_client.doctor import examine
    from fedloom.health.findings import describe, has_failed

    found = []
    for finding in examine(load_config(options.config)):
        found.append(finding)
        if not options.json:
            print(describe(finding), flush=True)  # noqa: T201 - the command's own output
    if options.json:
        print(msgspec.json.encode(found).decode())  # noqa: T201 - the command's own output
    return 1 if has_failed(found) else 0


def _repair(options: argparse.Namespace) -> int:
    import msgspec

    from edge_client import logs
    from edge_client.config import load_config
    from edge_client.outbox import StateDirectory
    from edge_client.repair import plan
    from fedloom.errors import StoreError

    config = load_config(options.config)
    logs.set_up(config.log)
    directory = StateDirectory(Path(config.state))
    directory.hold()
    try:
        repair = plan(config, directory, is_restored=options.restored)
        if not options.json:
            told = [f"{each.problem}\n  → {each.remedy}" for each in repair.steps] or ["nothing is damaged"]
            print("\n".join(told))  # noqa: T201 - the command's own output
        if repair.steps and not (options.yes or _agrees()):
            raise StoreError("nothing was changed; to go on without being asked, add --yes")
        try:
            repair.apply()
        except OSError as error:
            raise StoreError(f"{directory.path}: cannot be written ({error.strerror}); repair the disk first") from None
    finally:
        directory.release()
    if options.json:
        print(msgspec.json.encode(repair.steps).decode())  # noqa: T201 - the command's own output
    return 0


def _agrees() -> bool:
    return sys.stdin.isatty() and input("Go ahead? [y/N] ").strip().lower() in ("y", "yes")


_COMMANDS = {
    "join": _join,
    "run": _run,
    "check": _check,
    "status": _status,
    "doctor": _doctor,
    "repair": _repair,
}

"""The command `fedloom-edge`. What a subcommand needs is imported when it runs, numpy after its threads are set."""

import argparse
import os
import sys
from pathlib import Path

from fedloom import __version__
from fedloom.errors import FedloomError

_THREAD_VARIABLES = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
_EXAMPLES = """\
examples:
  fedloom-edge check --config edge.toml --job job.toml    is everything in place?
  fedloom-edge run --config edge.toml                     take part, until SIGTERM
  fedloom-edge run --config edge.toml --exit-when-done    take part in one job
  fedloom-edge status --config edge.toml --json           how is it?

exit status: 0 done, 2 wrong input (configuration, keys, data, a broker that refuses), 1 anything else
"""


def main(arguments: list[str] | None = None) -> int:
    """Run a subcommand; returns the exit status."""
    options = _parser().parse_args(arguments)
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")
    try:
        return {"run": _run, "check": _check, "status": _status}[options.command](options)
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
    run = _command(commands, "run", "take part in the federation's jobs until SIGTERM; SIGHUP reloads")
    run.add_argument("--exit-when-done", action="store_true", help="end when a job's final model is saved")
    run.add_argument("--log-level", choices=("debug", "info", "warning", "error"), help="instead of log.level")
    run.add_argument("--json", action="store_true", help="log JSON objects, as log.json = true does")
    check = _command(commands, "check", "look at configuration, keys and data, and say what is there")
    check.add_argument("--job", type=Path, metavar="FILE", help="read the data as this job would")
    status = _command(commands, "status", "say how the device is, from its state directory")
    status.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]", name: str, text: str
) -> argparse.ArgumentParser:
    command = commands.add_parser(name, help=text, description=f"{text[0].upper()}{text[1:]}.")
    command.add_argument("--config", type=Path, required=True, metavar="FILE", help="the device's TOML file")
    return command


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

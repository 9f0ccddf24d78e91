"""The `fedloom` command: finds the part that provides a subcommand, and imports only that. Standard library only.

Exit status: 0; 2 where the remedy is the user's (input, keys); 1 for anything else, as a broker that refuses.
"""

import gc
import importlib
import os
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import NamedTuple

from fedloom import __version__, failpoints
from fedloom.errors import FedloomError, InputError


class Command(NamedTuple):
    """Who provides a subcommand."""

    module: str
    """Has a Typer `app`, in which the subcommand has the same name."""
    extra: str
    """What to install where the import fails."""
    help: str


COMMANDS = {
    "aggregator": Command("aggregator.cli", "server", "make a federation, run a job, see how it stands"),
    "device": Command("aggregator.enrolment.device_cli", "server", "add, approve, list and revoke devices"),
    "token": Command("aggregator.enrolment.token_cli", "server", "make, list and revoke tokens that devices join with"),
    "root": Command("aggregator.roots.cli", "server", "keep, change and rotate the federation's root keys"),
    "round": Command("aggregator.round_cli", "server", "list and show rounds, recompute what one has fused"),
    "job": Command("aggregator.cli", "server", "check a job file"),
    "model": Command("aggregator.cli", "server", "show a saved model, or export it to ONNX"),
    "broker": Command("aggregator.broker.cli", "server", "configure a broker: access list, certificates, limits"),
    "flower": Command("aggregator.flower.cli", "server,flower", "run an unmodified Flower ServerApp on the federation"),
    "doctor": Command("aggregator.doctor_cli", "server", "check clock, keys, disk and broker, and say what to do"),
    "simulate": Command(
        "simulation.cli", "sim", "run a job over virtual clients, or with a local fleet of real daemons"
    ),
    "partition": Command("simulation.partition_cli", "sim", "show who has which samples in a job's simulation"),
    "compare": Command("simulation.compare.cli", "sim", "simulate jobs and their sweeps, and set them side by side"),
    "demo": Command("simulation.demo_cli", "sim", "watch a fleet learn from real recordings, in about a minute"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or given[0] in ("-h", "--help"):
        _say(usage())
        return 0 if given else 2
    if given[0] == "--version":
        _say(f"fedloom {__version__}")
        return 0
    try:
        failpoints.arm(os.environ.get(failpoints.VARIABLE, ""))
        return _run(given)
    except FedloomError as error:
        return _fail(str(error), error.exit_status)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # or the interpreter complains about it once more at exit
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        return _fail(f"{error.filename}: {error.strerror}; check the path, its owner and the space on its disk", 1)


def usage() -> str:
    """What `fedloom --help` prints."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {command.help}" for name, command in COMMANDS.items()]
    head = ["usage: fedloom [--version] COMMAND …", "", "Federated edge learning over MQTT. Commands:", ""]
    return "\n".join([*head, *lines, "", "fedloom COMMAND --help says more. The device's own command is fedloom-edge."])


def _run(given: list[str]) -> int:
    command = COMMANDS.get(given[0])
    if command is None:
        raise InputError(given[0], "", "is no command", f"commands are {', '.join(COMMANDS)}")
    module = sys.modules.get(command.module) or _provider(given[0], command)
    module.app(args=given, prog_name="fedloom")  # raises SystemExit when it is done
    return 0


def _provider(name: str, command: Command) -> ModuleType:
    """Import it. What that makes stays until the end: to look through it for garbage would take a third of the time."""
    gc.disable()
    try:
        return importlib.import_module(command.module)
    except ModuleNotFoundError as error:
        problem = f"{error.name} is not installed"
        raise InputError(f"fedloom {name}", "", problem, f"run: pip install 'fedloom[{command.extra}]'") from None
    finally:
        gc.freeze()
        gc.enable()


def _fail(problem: str, status: int) -> int:
    print(f"fedloom: error: {problem}", file=sys.stderr)  # noqa: T201 - a command's own words
    return status


def _say(text: str) -> None:
    print(text)  # noqa: T201 - a command's own words


if __name__ == "__main__":
    sys.exit(main())

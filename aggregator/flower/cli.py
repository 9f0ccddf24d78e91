"""`fedloom flower`."""

import asyncio
import logging
import sys
from contextlib import nullcontext, redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config
from aggregator.flower.app import load, parse_overrides
from aggregator.flower.serve import serve
from aggregator.report import to_operator
from aggregator.state_lock import exclusive

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
flower = typer.Typer(help="Run Flower apps on this federation.", no_args_is_help=True)
app.add_typer(flower, name="flower")


@flower.command("run")
def run(
    directory: Annotated[Path, typer.Argument(metavar="APP_DIR", help="Where the app's pyproject.toml is.")],
    config: Config = CONFIG,
    run_config: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Override an app's setting.")
    ] = None,
    resume: Annotated[bool, typer.Option(help="Carry an interrupted run on, and keep what that takes.")] = False,
    as_json: AsJson = False,
) -> None:
    """Run an unmodified Flower ServerApp; the federation's devices answer with their own ClientApps.

    Examples:

      fedloom flower run quickstart --config aggregator.toml

      fedloom flower run quickstart --run-config num-server-rounds=5 --resume --json
    """
    loaded = load_config(config)
    logging.basicConfig(level=loaded.config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("flwr").propagate = False  # it has a handler of its own
    server_app, tell = load(directory, parse_overrides(run_config or [])), to_operator(as_json=as_json)
    prints = redirect_stdout(sys.stderr) if as_json else nullcontext()
    with exclusive(loaded.state), prints:
        asyncio.run(serve(loaded, server_app, tell, resume=resume))


@flower.callback()
def about() -> None:
    """Keep `run` a command of its own, though it is the only one."""

"""`fedloom aggregator | job | model`."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator import keys, overview
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import Loaded, load_config
from aggregator.notices import AnyNotice
from aggregator.present import read_presence
from aggregator.report import to_operator
from aggregator.roots.changes import check_quorum, public_keys
from aggregator.runnable import check_runnable
from aggregator.serving import service_for
from aggregator.startup import assemble
from aggregator.state_cli import commands as state_commands
from aggregator.state_lock import exclusive
from aggregator.store import open_store
from fedloom.errors import DataError
from fedloom.job import load_job
from fedloom.learning.model_file import load as load_model

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
aggregator = typer.Typer(help="Make a federation, run a job, see how it stands.", no_args_is_help=True)
job = typer.Typer(help="Check job files.", no_args_is_help=True)
model = typer.Typer(help="Show and export saved models.", no_args_is_help=True)
aggregator.add_typer(state_commands)
for group, name in ((aggregator, "aggregator"), (job, "job"), (model, "model")):
    app.add_typer(group, name=name)


@aggregator.command("init")
def init(
    config: Config = CONFIG,
    suite: Annotated[keys.SuiteName, typer.Option(help="hybrid: ML-KEM-768 + X25519; x25519: classical.")] = "hybrid",
    root_key: Annotated[list[str] | None, typer.Option(metavar="HEX", help="A root key that lies elsewhere.")] = None,
    threshold: Annotated[int, typer.Option(metavar="K", help="How many of these root keys must sign.")] = 1,
) -> None:
    """Make the keys of a new federation in the state directory. They are never overwritten.

    Examples:

      fedloom aggregator init --config aggregator.toml

      fedloom aggregator init --root-key HEX --root-key HEX --root-key HEX --threshold 2
    """
    loaded = load_config(config)
    root_keys = public_keys(root_key, "--root-key")
    if root_keys or threshold != 1:
        check_quorum(root_keys, threshold, "fedloom aggregator init")
        proposed = keys.init_offline(loaded.state, suite, root_keys, threshold)
        file = loaded.state / "keys" / keys.PROPOSAL
        typer.echo(f"federation {proposed.federation.hex()}\naggregator {proposed.aggregators[0].id.hex()}")
        typer.echo(f"{file}: sign a copy of it with: fedloom root sign FILE --key ROOT_KEY ({threshold} keys)")
        typer.echo("then run: fedloom root install FILE")
        return
    made = keys.init(loaded.state, suite)
    typer.echo(f"federation {made.root.federation.hex()}\naggregator {made.id.hex()}\nkeys in {loaded.state / 'keys'}")


@aggregator.command("run")
def run(
    config: Config = CONFIG,
    as_json: AsJson = False,
    exit_when_done: Annotated[bool, typer.Option(help="End when the job is done; else serve its model on.")] = False,
) -> None:
    """Run the configured job until SIGTERM; a run that was interrupted goes on where it was.

    Examples:

      fedloom aggregator run --config aggregator.toml

      fedloom aggregator run --exit-when-done --json
    """
    loaded = load_config(config)
    logging.basicConfig(level=loaded.config.log.level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    with exclusive(loaded.state):
        asyncio.run(_serve(loaded, to_operator(as_json=as_json), exit_when_done))


@aggregator.command("status")
def status(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Show the job, its rounds and its models, whether the aggregator runs or not.

    Example:

      fedloom aggregator status --json
    """
    state = load_config(config).state
    with open_store(state) as store:
        standing = overview.standing(store, read_presence(state))
    typer.echo(msgspec.json.encode(standing).decode() if as_json else overview.describe(standing))


@job.command("check")
def job_check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")]) -> None:
    """Say whether a job file is right, or exactly what is wrong.

    Example:

      fedloom job check job.toml
    """
    read = load_job(file)
    check_runnable(read, file)
    size, rule = read.model.layout().size, "robust" if read.strategy.robust else read.strategy.name
    typer.echo(f"{file}: job {read.name} is right: {size:,} weights, {read.rounds.count} rounds, {rule}")


@model.command("show")
def model_show(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A saved model.")], as_json: AsJson = False
) -> None:
    """Show what a saved model is.

    Example:

      fedloom model show state/models/watch/v0020.fedloom
    """
    shown = overview.card(load_model(file))
    typer.echo(msgspec.json.encode(shown).decode() if as_json else overview.lines(shown))


@model.command("export")
def model_export(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A saved model.")],
    onnx: Annotated[Path | None, typer.Option(help="File to write; default: FILE with the ending .onnx.")] = None,
) -> None:
    """Export a saved model to ONNX, normalisation included.

    Example:

      fedloom model export v0020.fedloom --onnx model.onnx
    """
    from fedloom.learning.onnx_export import export_onnx  # for this command alone

    out = onnx or file.with_suffix(".onnx")
    loaded = load_model(file)
    try:
        export_onnx(loaded, out)
    except OSError as error:
        raise DataError(str(out), "", f"cannot be written ({error.strerror})", "choose another path") from None
    typer.echo(str(out))


async def _serve(loaded: Loaded, tell: Callable[[AnyNotice], None], exit_when_done: bool) -> None:
    parts = assemble(loaded)
    try:
        await service_for(parts, loaded, tell, exit_when_done=exit_when_done).run()
    finally:
        parts.archive.close()

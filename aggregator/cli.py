"""`fedloom aggregator | device | job | model`."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator import keys, overview
from aggregator.config import Loaded, load_config
from aggregator.initial import initial_model
from aggregator.issuing import CREDENTIAL_DAYS
from aggregator.notices import AnyNotice
from aggregator.opening import check_manifest
from aggregator.provision import new_device
from aggregator.report import to_operator
from aggregator.service import Service
from aggregator.startup import assemble, exclusive
from aggregator.store import open_store
from fedloom.errors import DataError
from fedloom.job import load_job
from fedloom.learning.model_file import load as load_model
from fedloom.learning.onnx_export import export_onnx
from fedloom.link.mqtt import MqttLink
from strategies import create

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
aggregator = typer.Typer(help="Make a federation, run a job, see how it stands.", no_args_is_help=True)
device = typer.Typer(help="Add, list and revoke devices.", no_args_is_help=True)
job = typer.Typer(help="Check job files.", no_args_is_help=True)
model = typer.Typer(help="Show and export saved models.", no_args_is_help=True)
for group, name in ((aggregator, "aggregator"), (device, "device"), (job, "job"), (model, "model")):
    app.add_typer(group, name=name)

Config = Annotated[Path, typer.Option("--config", help="The aggregator's configuration file.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
CONFIG = Path("aggregator.toml")


@aggregator.command("init")
def init(
    config: Config = CONFIG,
    suite: Annotated[keys.SuiteName, typer.Option(help="hybrid: ML-KEM-768 + X25519; x25519: classical.")] = "hybrid",
) -> None:
    """Make the keys of a new federation in the state directory. They are never overwritten.

    Example:

      fedloom aggregator init --config aggregator.toml
    """
    loaded = load_config(config)
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
    with open_store(load_config(config).state) as store:
        standing = overview.standing(store)
    typer.echo(msgspec.json.encode(standing).decode() if as_json else overview.describe(standing))


@device.command("new")
def device_new(
    name: Annotated[str, typer.Argument(help="What to call the device.")],
    out: Annotated[Path, typer.Option(help="Directory for its keys and configuration.")],
    config: Config = CONFIG,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long its credential is valid.")] = CREDENTIAL_DAYS,
) -> None:
    """Make a device's keys, credential and configuration, and let it take part.

    Example:

      fedloom device new gate-7 --out gate-7/
    """
    loaded = load_config(config)
    made = new_device(loaded.state, name, out, broker=loaded.config.devices_broker(), days=days)
    typer.echo(f"device {made.id.hex()} ({name}): keys and edge.toml in {out}")


@device.command("list")
def device_list(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """List all devices.

    Example:

      fedloom device list --json
    """
    with open_store(load_config(config).state) as store:
        rows = [{"id": each.id.hex(), "name": each.name, "revoked": each.revoked} for each in store.devices()]
    if as_json:
        typer.echo(msgspec.json.encode(rows).decode())
        return
    for row in rows:
        typer.echo(f"{row['id']}  {row['name']}{'  revoked' if row['revoked'] else ''}")


@device.command("revoke")
def device_revoke(
    name: Annotated[str, typer.Argument(help="The device's name.")],
    config: Config = CONFIG,
) -> None:
    """Refuse everything that a device sends from now on.

    Example:

      fedloom device revoke gate-7
    """
    with open_store(load_config(config).state) as store:
        store.revoke_device(name)
    typer.echo(f"{name} is revoked")


@job.command("check")
def job_check(file: Annotated[Path, typer.Argument(metavar="FILE", help="The job file.")]) -> None:
    """Say whether a job file is right, or exactly what is wrong.

    Example:

      fedloom job check job.toml
    """
    read = load_job(file)
    create(read.strategy, str(file))
    check_manifest(read, str(file))
    initial_model(read, file)
    size = read.model.layout().size
    typer.echo(f"{file}: job {read.name} is right: {size:,} weights, {read.rounds.count} rounds, {read.strategy.name}")


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
    out = onnx or file.with_suffix(".onnx")
    loaded = load_model(file)
    try:
        export_onnx(loaded, out)
    except OSError as error:
        raise DataError(str(out), "", f"cannot be written ({error.strerror})", "choose another path") from None
    typer.echo(str(out))


async def _serve(loaded: Loaded, tell: Callable[[AnyNotice], None], exit_when_done: bool) -> None:
    parts = assemble(loaded)
    broker = loaded.config.broker
    try:
        service = Service(
            parts.coordinator,
            parts.archive,
            parts.fleet.topics,
            lambda on_event: MqttLink(broker, parts.client_id, on_event),
            tell,
            broker=f"{broker.host}:{broker.port}",
            exit_when_done=exit_when_done,
        )
        await service.run()
    finally:
        parts.archive.close()

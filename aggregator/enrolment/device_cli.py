"""`fedloom device`."""

import time
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import CREDENTIAL_DAYS, load_config
from aggregator.enrolment.provision import new_device
from aggregator.enrolment.relabel import relabel
from aggregator.enrolment.roster import describe, roster
from aggregator.enrolment.tokens import decide_pending
from aggregator.labels import labels_text, read_labels
from aggregator.store import open_store

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
device = typer.Typer(help="Add, approve, list, label and revoke devices.", no_args_is_help=True)
app.add_typer(device, name="device")


@device.command("new")
def new(
    name: Annotated[str, typer.Argument(help="What to call the device.")],
    out: Annotated[Path, typer.Option(help="Directory for its keys and configuration.")],
    config: Config = CONFIG,
    days: Annotated[int, typer.Option(min=1, max=3650, help="How long its credential is valid.")] = CREDENTIAL_DAYS,
) -> None:
    """Make a device's keys, credential and configuration, and let it take part.

    Its keys are made here. To have them made on the device: fedloom token new.

    Example:

      fedloom device new gate-7 --out gate-7/
    """
    loaded = load_config(config)
    made = new_device(loaded.state, name, out, broker=loaded.config.devices_broker(), days=days)
    typer.echo(f"device {made.id.hex()} ({name}): keys and edge.toml in {out}")


@device.command("list")
def show(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """List the devices that wait to be let in, and all others.

    Example:

      fedloom device list --json
    """
    with open_store(load_config(config).state) as store:
        entries = roster(store, time.time())
    if as_json:
        typer.echo(msgspec.json.encode(entries).decode())
        return
    for entry in entries:
        typer.echo(describe(entry))


@device.command("approve")
def approve(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The device's name, or its token's id.")],
    config: Config = CONFIG,
) -> None:
    """Let a device in that waits for it. It gets its answer when it asks again.

    Example:

      fedloom device approve gate-7
    """
    with open_store(load_config(config).state) as store:
        approved = decide_pending(store, name, is_approved=True)
    typer.echo(f"{approved} is approved, and is let in as soon as it asks again, if the aggregator runs")


@device.command("reject")
def reject(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The device's name, or its token's id.")],
    config: Config = CONFIG,
) -> None:
    """Do not let a device in that waits for it; its token is good for nothing any more.

    Example:

      fedloom device reject gate-7
    """
    with open_store(load_config(config).state) as store:
        rejected = decide_pending(store, name, is_approved=False)
    typer.echo(f"{rejected} is rejected")


@device.command("label")
def label(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The device's name or id.")],
    labels: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="Labels to add.")] = None,
    remove: Annotated[list[str] | None, typer.Option(metavar="KEY", help="A label to take away.")] = None,
    config: Config = CONFIG,
) -> None:
    """Label a device, so that jobs can require it or leave it out ([cohort] of the job file), and say what it has.

    Examples:

      fedloom device label gate-7 site=north power=mains

      fedloom device label gate-7 --remove power
    """
    given = read_labels(labels or [], "device label", "KEY=VALUE")
    with open_store(load_config(config).state) as store:
        kept = relabel(store, name, given, remove or [])
    typer.echo(f"{name}: {labels_text(kept) or 'no labels'}")


@device.command("revoke")
def revoke(
    name: Annotated[str, typer.Argument(metavar="NAME|ID", help="The device's name or id.")],
    config: Config = CONFIG,
) -> None:
    """Refuse everything that a device sends from now on, and give it nothing more.

    Example:

      fedloom device revoke gate-7
    """
    with open_store(load_config(config).state) as store:
        revoked = store.revoke_device(name)
    typer.echo(f"{revoked} is revoked: the aggregator refuses it, and gives it no model any more")
    typer.echo("to shut it out of the broker too, write its configuration again and have the broker reload it:")
    typer.echo("  fedloom broker config --help")

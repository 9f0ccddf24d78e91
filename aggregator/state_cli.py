"""`fedloom aggregator backup | restore | gc | check`: the state directory as a whole."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator import history
from aggregator.backup.inventory import Inventory
from aggregator.backup.restore import Restored
from aggregator.backup.restore import restore as put_back
from aggregator.backup.take import take
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config
from aggregator.findings_cli import report_findings
from aggregator.store import open_store
from aggregator.upkeep.check import check as examine
from aggregator.upkeep.collect import collect
from fedloom.job import Job

commands = typer.Typer(no_args_is_help=True)
_EVERY_S = 1.0


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """What was copied."""

    directory: str
    federation: str
    made_at: str
    manifest_version: int
    files: int
    bytes: int
    seconds: float
    revoked: list[str] | None = None
    """Of a restore: devices that were in when the backup was made, and are out now; null if that was not looked at."""
    to_do: list[str] = []
    """Before the aggregator starts."""


@commands.command("backup")
def backup(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where to; it is made.")],
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Copy keys, database, models, spool and an app's run; the aggregator may be running. All its secrets are in it.

    Examples:

      fedloom aggregator backup /srv/backups/2026-11-21

      fedloom aggregator backup /srv/backups/2026-11-21 --json
    """
    began_s = time.monotonic()
    inventory = take(load_config(config).state, directory, _Progress())
    _say(directory, inventory, began_s, as_json=as_json)


@commands.command("restore")
def restore(
    directory: Annotated[Path, typer.Argument(metavar="DIRECTORY", help="A backup.")],
    config: Config = CONFIG,
    as_json: AsJson = False,
    revoked: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The broker's crl.pem: revoke again who is on it. It may be newer."),
    ] = None,
) -> None:
    """Make an empty state directory what it was when the backup was made. Rounds since then are done again.

    What was decided about devices since then is lost, but for the broker's list of who was revoked.

    Examples:

      fedloom aggregator restore /srv/backups/2026-11-21 --revoked /etc/mosquitto/fedloom/crl.pem

      fedloom aggregator restore /srv/backups/2026-11-21 --json
    """
    began_s = time.monotonic()
    restored = put_back(directory, load_config(config).state, _Progress(), revoked)
    again = restored.revoked if revoked else None
    _say(directory, restored.inventory, began_s, as_json=as_json, revoked=again, to_do=_to_do(restored, revoked))


def _to_do(restored: Restored, revoked: Path | None) -> list[str]:
    since = restored.inventory.made_at
    told = "look through fedloom device list, and revoke them again: fedloom device revoke NAME"
    return [
        f"whoever was revoked since {since} and is not on {revoked} is in again: {told}"
        if revoked
        else f"WHOEVER WAS REVOKED SINCE {since} IS IN AGAIN: {told}",
        f"whoever joined since {since} must join again: fedloom token new",
        "after that, write the broker's files anew, which are in no backup: fedloom broker config",
    ]


@commands.command("gc")
def gc(
    config: Config = CONFIG,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be removed, and remove nothing.")] = False,
) -> None:
    """Remove what nothing needs any more: old rounds, expired tokens, orphaned files. The aggregator may be running.

    Examples:

      fedloom aggregator gc --dry-run

      fedloom aggregator gc --json
    """
    loaded = load_config(config)
    with open_store(loaded.state) as store:
        newest = history.newest_job(store)
        keep = loaded.config.retention.rounds_kept(msgspec.json.decode(newest[2], type=Job) if newest else None)
        freed = list(collect(loaded.state, store, loaded.config.retention, keep, is_dry=dry_run))
    if as_json:
        typer.echo(msgspec.json.encode(freed).decode())
        return
    for each in freed:
        size = f", {each.bytes / 2**20:,.1f} MiB" if each.bytes else ""
        typer.echo(f"{each.what}: {each.count:,}{size}{' would be removed' if dry_run else ' removed'}")
    if not freed:
        typer.echo("there is nothing to remove")


@commands.command("check")
def check(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Read all of the state and compare it with its checksums; say what helps. Ends with 1 if anything is damaged.

    The aggregator may be running.

    Examples:

      fedloom aggregator check

      fedloom aggregator check --json
    """
    report_findings(examine(load_config(config).state), as_json=as_json)


class _Progress:
    """A line a second on standard error, where it takes longer than that."""

    def __init__(self) -> None:
        self._next_s = time.monotonic() + _EVERY_S

    def __call__(self, done: str, files: int, of_files: int, size_bytes: int, of_bytes: int) -> None:
        if time.monotonic() >= self._next_s:
            self._next_s = time.monotonic() + _EVERY_S
            text = f"{files} of {of_files} files, {size_bytes / 2**20:,.0f} of {of_bytes / 2**20:,.0f} MiB {done}\n"
            sys.stderr.write(text)


def _say(
    directory: Path,
    inventory: Inventory,
    began_s: float,
    *,
    as_json: bool,
    revoked: list[str] | None = None,
    to_do: Sequence[str] = (),
) -> None:
    outcome = Outcome(
        str(directory),
        inventory.federation,
        inventory.made_at,
        inventory.manifest_version,
        len(inventory.files),
        inventory.size_bytes,
        round(time.monotonic() - began_s, 3),
        revoked,
        list(to_do),
    )
    if as_json:
        typer.echo(msgspec.json.encode(outcome).decode())
        return
    size = f"{outcome.files} files, {outcome.bytes / 2**20:,.1f} MiB"
    typer.echo(f"{directory}: {size}, of {inventory.made_at}, manifest version {inventory.manifest_version}")
    for name in revoked or ():
        typer.echo(f"{name} is revoked again")
    for each in to_do:
        typer.echo(f"- {each}")

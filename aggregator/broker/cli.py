"""`fedloom broker`."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator.broker.files import Kind, Wanted, Wrote, write
from aggregator.broker.profile import JOIN_PORT, PORT
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
broker = typer.Typer(help="Write a broker's configuration, access list and TLS material.", no_args_is_help=True)
app.add_typer(broker, name="broker")


@broker.callback()
def _group() -> None:
    """Typer would take a lone subcommand for the group itself."""


@broker.command("config")
def broker_config(
    kind: Annotated[Kind, typer.Argument(metavar="mosquitto|emqx|aws-iot", help="The broker.")],
    out: Annotated[Path, typer.Option(help="Directory to write to: `broker` is for the broker's host.")],
    config: Config = CONFIG,
    host: Annotated[
        list[str] | None, typer.Option(help="A name or address of the broker; may be repeated. Default: as configured.")
    ] = None,
    port: Annotated[
        int | None, typer.Option(min=1, max=65_535, help=f"Where members connect, with certificates. Default: {PORT}.")
    ] = None,
    join_port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help=f"Where devices join; 0: nowhere. Default: {JOIN_PORT}.")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="Where the broker finds `broker`. Default: where it is written.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a broker's configuration, access list, limits and TLS material. Run it again after each revocation.

    Keys and certificates are kept until they near their end, or the broker's names change.

    Examples:

      fedloom broker config mosquitto --out broker/ --host hub.example.org

      fedloom broker config mosquitto --out broker/ --host hub.example.org --at /etc/mosquitto
    """
    loaded = load_config(config)
    configured = dict.fromkeys((loaded.config.devices_broker().host, loaded.config.broker.host))
    wrote = write(loaded.state, Wanted(kind, out, tuple(host or configured), port, join_port, at))
    typer.echo(msgspec.json.encode(wrote).decode() if as_json else _describe(wrote))


def _describe(wrote: Wrote) -> str:
    out = [f"wrote {path}" for path in wrote.files] or ["nothing to write: all is up to date"]
    out.append(f"{wrote.revoked} revoked devices are shut out")
    return "\n".join([*out, "", wrote.apply, "", "In aggregator.toml:", "", wrote.aggregator_toml])

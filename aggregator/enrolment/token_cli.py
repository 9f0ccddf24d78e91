"""`fedloom token`."""

import datetime
import io
import time
from hashlib import sha256
from typing import Annotated

import msgspec
import typer

from aggregator import keys
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import Loaded, load_config
from aggregator.enrolment import tokens
from aggregator.enrolment.durations import read_duration
from aggregator.labels import labels_text, read_labels
from aggregator.store import open_store
from fedloom.trust.tokens import TlsMode, Token, write_token

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
token = typer.Typer(help="Make, list and revoke the tokens that devices join with.", no_args_is_help=True)
app.add_typer(token, name="token")

MAX_COUNT = 10_000


class Printed(msgspec.Struct, frozen=True):
    """A token, for programs."""

    id: str
    name: str
    token: str
    expires_at: int


@token.command("new")
def new(
    config: Config = CONFIG,
    count: Annotated[int, typer.Option(min=1, max=MAX_COUNT, help="How many; one lets in one device.")] = 1,
    expires: Annotated[str, typer.Option(metavar="DURATION", help="90m, 12h, 7d, 2w.")] = "7d",
    name: Annotated[str, typer.Option(help="The device's name; of several, what their names begin with.")] = "",
    label: Annotated[list[str] | None, typer.Option(metavar="KEY=VALUE", help="To find the devices by.")] = None,
    approve: Annotated[bool, typer.Option(help="Somebody must approve each device that comes.")] = False,
    qr: Annotated[bool, typer.Option(help="Show each token as a QR code too, on standard error.")] = False,
    as_json: AsJson = False,
) -> None:
    """Make tokens, one a line. Whoever has one can join as one device: treat it like a password.

    Examples:

      fedloom token new --qr

      fedloom token new --count 20 --name hall --label site=north --expires 12h --approve
    """
    loaded = load_config(config)
    expires_at = int(time.time()) + read_duration(expires, "--expires")
    own, labels = keys.load(loaded.state), read_labels(label or [], "token new", "--label")
    names = [name] if count == 1 else [f"{name}-{number + 1}" if name else "" for number in range(count)]
    broker = loaded.config.join_broker()
    # Written once before anything is stored: a host that no token can carry is found now.
    draft = Token(own.root.federation, bytes(16), bytes(32), sha256(own.documents[-1]).digest(), expires_at, broker)
    write_token(draft)
    with open_store(loaded.state) as store:
        made = tokens.make(store, names, expires_at, labels, needs_approval=approve)
    for each in made:
        text = write_token(draft._replace(id=each.id, secret=each.secret))
        typer.echo(_json(each, text, expires_at) if as_json else text)
        if qr:
            typer.echo(_qr(text), err=True)
    _explain(loaded, expires_at, approve=approve)


@token.command("list")
def show(config: Config = CONFIG, as_json: AsJson = False) -> None:
    """List all tokens and what became of them; never their secrets.

    Example:

      fedloom token list --json
    """
    with open_store(load_config(config).state) as store:
        entries = tokens.entries(store, time.time())
    if as_json:
        typer.echo(msgspec.json.encode(entries).decode())
        return
    for entry in entries:
        words = [entry.id, entry.state, f"expires {_minute(entry.expires_at)}", entry.name]
        typer.echo("  ".join(filter(None, [*words, labels_text(entry.labels)])))


@token.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id, see: fedloom token list")],
    config: Config = CONFIG,
) -> None:
    """Let nobody in with a token that has not let a device in yet.

    Example:

      fedloom token revoke 3f0c8d5b2a7e4916b8d0c1f2a3e4d5c6
    """
    with open_store(load_config(config).state) as store:
        tokens.revoke(store, token_id)
    typer.echo(f"token {token_id} is revoked")


def _explain(loaded: Loaded, expires_at: int, *, approve: bool) -> None:
    """What to do now, on standard error: standard output has the tokens alone."""
    broker = loaded.config.join_broker()
    typer.echo(f"good until {_minute(expires_at)} UTC; on the device run: fedloom-edge join TOKEN", err=True)
    if approve:
        typer.echo("when it has asked: fedloom device list, then fedloom device approve NAME", err=True)
    if broker.tls is TlsMode.NONE:
        problem = f"warning: devices reach the broker at {broker.host}:{broker.port} without TLS (devices.tls)"
        typer.echo(f"{problem}: nobody on the way can read or forge, but anybody can see and disturb", err=True)
    elif broker.tls is TlsMode.FEDERATION and not loaded.config.devices.join_port:
        problem = f"the broker has to let devices without a certificate in on port {broker.port}"
        typer.echo(f"note: {problem}; or set devices.join_port to a listener of its own", err=True)


def _json(made: tokens.NewToken, text: str, expires_at: int) -> str:
    return msgspec.json.encode(Printed(made.id.hex(), made.name, text, expires_at)).decode()


def _qr(text: str) -> str:
    import segno

    out = io.StringIO()
    segno.make(text, error="l", micro=False).terminal(out, compact=True)
    return out.getvalue()


def _minute(seconds: int) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d %H:%M")

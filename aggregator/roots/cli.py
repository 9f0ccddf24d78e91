"""`fedloom root`: who is trusted with what, and how that changes. docs/roots.md tells it as a guide."""

from pathlib import Path
from typing import Annotated

import msgspec
import typer

from aggregator import keys
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config
from aggregator.roots import changes as root_changes
from aggregator.roots import install as root_install
from aggregator.roots import view as root_view
from fedloom.trust.documents import Root, peek_root

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
root = typer.Typer(help="Keep the root keys, show, change and rotate what they sign.", no_args_is_help=True)
app.add_typer(root, name="root")

File = Annotated[Path, typer.Argument(metavar="FILE", help="A root document, signed or not.")]
RESTART = "takes effect when the aggregator is restarted"


@root.callback()
def _group() -> None:
    """Keep this a group, whatever commands it has."""


@root.command("keygen")
def keygen(out: Annotated[Path, typer.Option(help="File for the private key; never overwritten.")]) -> None:
    """Make a root key, best on a host without a network; prints its public part.

    Example:

      fedloom root keygen --out root.key
    """
    typer.echo(root_changes.new_root_key(out).hex())


@root.command("show")
def show(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="A root document; default: ours.")] = None,
    config: Config = CONFIG,
    as_json: AsJson = False,
) -> None:
    """Show a root document: whom it lists, who has signed it, who has yet to.

    Examples:

      fedloom root show

      fedloom root show next.root --json
    """
    documents = _chain(config) if file is None or config.exists() else ()
    blob = documents[-1] if file is None else root_install.read_document(file)
    shown = root_view.card(blob, _before(blob, documents))
    typer.echo(msgspec.json.encode(shown).decode() if as_json else root_view.describe(shown))


@root.command("propose")
def propose(
    out: Annotated[Path, typer.Option(help="File for the next version; never overwritten.")],
    rotate_aggregator: Annotated[bool, typer.Option("--rotate-aggregator", help="Give it a new key.")] = False,
    add_key: Annotated[list[str] | None, typer.Option(metavar="HEX", help="A root key to add.")] = None,
    remove_key: Annotated[list[str] | None, typer.Option(metavar="HEX", help="A root key to remove.")] = None,
    threshold: Annotated[int | None, typer.Option(metavar="K", help="How many root keys must sign.")] = None,
    config: Config = CONFIG,
) -> None:
    """Write the next version of the root document, for the root keys to sign.

    Examples:

      fedloom root propose --rotate-aggregator --out next.root

      fedloom root propose --add-key HEX --remove-key HEX --threshold 2 --out next.root
    """
    added, removed = (
        root_changes.public_keys(add_key, "--add-key"),
        root_changes.public_keys(remove_key, "--remove-key"),
    )
    changes = root_changes.Changes(rotate_aggregator, added, removed, threshold)
    root_changes.propose(load_config(config).state, changes, out)
    typer.echo(f"{out}: sign it with: fedloom root sign {out} --key FILE\nthen run: fedloom root install {out}")


@root.command("sign")
def sign(
    file: File,
    key: Annotated[Path, typer.Option(help="The private root key.")],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Show a root document, and add a signature to it; needs no federation on this host.

    Example:

      fedloom root sign next.root --key root.key
    """
    blob = root_install.read_document(file)
    typer.echo(root_view.describe(root_view.card(blob, None)))
    if not yes:
        typer.confirm("Sign this?", abort=True)
    typer.echo(f"signed by {root_changes.sign(file, blob, key).hex()}")


@root.command("install")
def install(file: File, config: Config = CONFIG) -> None:
    """Make a root document that enough keys have signed the newest one.

    Example:

      fedloom root install next.root
    """
    installed = root_install.install(load_config(config).state, file)
    typer.echo(f"root version {installed.version} is installed; it {RESTART}")


@root.command("rotate")
def rotate(config: Config = CONFIG) -> None:
    """Give the aggregator a new key: propose, sign and install in one, with the federation's key that lies here.

    Example:

      fedloom root rotate
    """
    rotated = root_changes.rotate(load_config(config).state)
    typer.echo(f"root version {rotated.version} lists a new key of the aggregator; it {RESTART}")


def _chain(config: Path) -> tuple[bytes, ...]:
    documents, _ = keys.read_chain(keys.directory_of(load_config(config).state))
    return documents


def _before(blob: bytes, documents: tuple[bytes, ...]) -> Root | None:
    """The version before that of `blob`, if it is of the same federation and among `documents`."""
    said = peek_root(blob)
    known = [peek_root(each) for each in documents]
    return next(
        (each for each in known if (each.federation, each.version + 1) == (said.federation, said.version)), None
    )

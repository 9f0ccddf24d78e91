"""`fedloom round`."""

from typing import Annotated

import msgspec
import typer

from aggregator import history, past_rounds, round_view
from aggregator.cli_options import CONFIG, AsJson, Config
from aggregator.config import load_config
from aggregator.damage import DamagedError
from aggregator.initial import initial_model
from aggregator.recompute import Files, recompute, sources
from aggregator.registry import Registry
from aggregator.root_set import load as load_root_set
from aggregator.spool import Spool
from aggregator.states import States
from aggregator.store import open_store
from aggregator.verification import Verified, verify
from fedloom.errors import StoreError
from strategies import create_for

app = typer.Typer(add_completion=False, rich_markup_mode=None, no_args_is_help=True, pretty_exceptions_enable=False)
rounds = typer.Typer(help="List and show rounds, recompute what one has fused.", no_args_is_help=True)
app.add_typer(rounds, name="round")

JobName = Annotated[str, typer.Argument(metavar="JOB", help="A job's name, for its newest run, or the id of a run.")]
Number = Annotated[int, typer.Argument(metavar="ROUND", help="The number of the round.")]


@rounds.command("list")
def list_rounds(job: JobName, config: Config = CONFIG, as_json: AsJson = False) -> None:
    """List the rounds of a run, and how they ended.

    Example:

      fedloom round list watch
    """
    with open_store(load_config(config).state) as store:
        found = history.rounds_of(store, past_rounds.find_run(store, job).id)
    typer.echo(msgspec.json.encode(found).decode() if as_json else round_view.lines(found))


@rounds.command("show")
def show(job: JobName, number: Number, config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Show all attempts of a round: who answered what, and what was made of it.

    Example:

      fedloom round show watch 3 --json
    """
    with open_store(load_config(config).state) as store:
        found = round_view.attempts(store, past_rounds.find_run(store, job), number)
    typer.echo(msgspec.json.encode(found).decode() if as_json else round_view.describe(found))


@rounds.command("verify")
def verify_round(job: JobName, number: Number, config: Config = CONFIG, as_json: AsJson = False) -> None:
    """Recompute what a round has fused from its updates, and compare; also beside a running aggregator.

    Exit status 1 where anything differs from the record.

    Example:

      fedloom round verify watch 3
    """
    loaded = load_config(config)
    with open_store(loaded.state) as store:
        run = past_rounds.find_run(store, job)
        models = loaded.state / "models"
        registry = Registry(models, run.job)
        files = Files(store, registry, States(models / run.job.name), Spool(loaded.state / "spool"))
        past = past_rounds.done_round(store, run, number)
        strategy = create_for(run.job, f"the run {run.id.hex()}")
        try:
            given = sources(past, run, files)
            root_set = load_root_set(loaded.config.root_set, run.job, str(loaded.job))
            again = recompute(past, given, run, strategy, lambda: initial_model(run.job, loaded.job), root_set)
        except DamagedError as damage:
            raise StoreError(
                f"{damage}; it cannot be verified any more; see what helps: fedloom aggregator check"
            ) from None
        found = verify(past, run, files, strategy, given, again)
    typer.echo(msgspec.json.encode(found).decode() if as_json else _describe(found))
    if found.problems:
        raise typer.Exit(1)


def _describe(found: Verified) -> str:
    same = "the same build" if found.build == found.build_here else f"another build ({found.build or 'not recorded'})"
    says = {
        "identical": "the same bits as recorded",
        "within_bound": "the recorded model, as closely as another build can make it",
        "undecided": "CANNOT be compared",
        "different": "NOT what was recorded",
    }
    head = f"round {found.round} ({found.phase}), attempt {found.attempt}, of job {found.job}: {says[found.outcome]}"
    return "\n".join(
        [head, f"{found.updates} updates, fused by {same}", *(f"problem: {each}" for each in found.problems)]
    )

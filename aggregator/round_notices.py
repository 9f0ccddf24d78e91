"""What the operator is told of rounds, from what the coordinator knows of them. Pure."""

from aggregator.events import FusionResult
from aggregator.intake import Intake
from aggregator.notices import Done, RoundClosed, RoundOpened
from aggregator.progress import Progress, Setup
from aggregator.records import Outcome, RoundRecord
from fedloom.wire.messages import Phase, Verdict


def opened(record: RoundRecord) -> RoundOpened:
    """A round is open."""
    return RoundOpened(record.round, record.attempt, record.phase, len(record.invitations), record.target)


def closed(intake: Intake, outcome: Outcome, reason: str, result: FusionResult | None, dropped: int) -> RoundClosed:
    """A round is over; `seconds` is not known before that is durable. `dropped`: besides what the intake refused."""
    state, record = intake.state, intake.opened
    accepted = [each for _, each in sorted(state.answers.items()) if each.verdict is Verdict.ACCEPTED]
    samples = sum(each.samples for each in accepted)
    is_trained = record.phase is Phase.TRAIN and samples > 0
    return RoundClosed(
        round=record.round,
        attempt=record.attempt,
        phase=record.phase,
        outcome=outcome,
        reason=reason,
        accepted=state.accepted,
        declined=state.declined,
        rejected=len(state.rejected),
        seconds=0.0,
        metrics=result.metrics if result else {},
        train_loss=sum(each.train_loss for each in accepted) / samples if is_trained else None,
        bytes=sum(each.size_bytes for each in state.answers.values()),
        dropped=intake.refusals.total() + dropped,
    )


def done(setup: Setup, progress: Progress, record: RoundRecord) -> Done:
    """The job is done, with this last round."""
    model = "" if record.model_version is None else setup.model_path(record.model_version)
    figures = progress.history[-1] if progress.history and setup.job.rounds.evaluate else {}
    return Done(setup.job.name, max(0, record.round - 1), model, figures)


def too_few(ready: int, needed: int) -> str:
    """Why the job waits."""
    return f"{ready} of {needed} devices are ready" if ready else "no device is ready"

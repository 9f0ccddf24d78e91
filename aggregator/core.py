"""All that the aggregator decides, behind one door: the job's coordinator, the registrar, the renewals. No I/O."""

from aggregator.coordinator import Coordinator
from aggregator.enrolment.registrar import Registrar
from aggregator.enrolment.renewal import SWEEP_S, Renewal
from aggregator.events import Action, Begin, Decided, Event, FleetChanged, Now, Renewed, Tick, WakeAt
from fedloom.link.base import Received


class Core:
    """Hands each event to those whom it concerns."""

    def __init__(self, coordinator: Coordinator, registrar: Registrar, renewal: Renewal) -> None:
        self.coordinator = coordinator
        self._registrar = registrar
        self._renewal = renewal

    def handle(self, event: Event, now: Now) -> list[Action]:
        """Take an event; the actions are to be carried out in their order."""
        match event:
            case Received(topic) if "/enrol/" in topic:
                return self._registrar.received(event, now)
            case Received(topic) if topic.endswith("/state"):
                return [*self.coordinator.handle(event, now), *self._renewal.heard(topic, now)]
            case Decided(decisions):
                return self._registrar.decided(decisions)
            case Renewed(grants):
                return self._renewal.renewed(grants)
            case FleetChanged(_, tokens):
                self._registrar.learn(tokens)
                return self.coordinator.handle(event, now)
            case Begin():
                return [*self.coordinator.handle(event, now), WakeAt(now.monotonic_s + SWEEP_S)]
            case Tick():
                return [*self._swept(now), *self._registrar.tick(now), *self.coordinator.handle(event, now)]
            case _:
                return self.coordinator.handle(event, now)

    def _swept(self, now: Now) -> list[Action]:
        """Other parts of the aggregator ask for ticks as well: a sweep that is not due does nothing."""
        if now.monotonic_s < self._renewal.next_sweep_s:
            return []
        return [*self._renewal.sweep(now), WakeAt(self._renewal.next_sweep_s)]

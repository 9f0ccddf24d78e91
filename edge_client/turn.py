"""What comes of an event, written down while it is dealt with: the device's state, and the actions in their order."""

import msgspec

from edge_client.events import Action, Log, PersistState
from edge_client.state import DeviceState


class Turn:
    """One after the other: an event begins it, and its actions end it."""

    def __init__(self, state: DeviceState) -> None:
        self.state = state
        self.now_s = 0.0
        """Of the event, on a monotonic clock."""
        self._actions: list[Action] = []

    def do(self, *actions: Action) -> None:
        """Have these done, after what is to be done already."""
        self._actions += actions

    def persist(self, **changes: object) -> None:
        """Change the state, and have it on disk before anything that is to be done later."""
        self.note(**changes)
        self.do(PersistState(self.state))

    def note(self, **changes: object) -> None:
        """Change the state, which is not worth a write of its own."""
        self.state = msgspec.structs.replace(self.state, **changes)

    def log(self, level: int, text: str, *args: object) -> None:
        """Have a line logged."""
        self.do(Log(level, text, args))

    def end(self) -> list[Action]:
        """What is to be done about the event."""
        actions, self._actions = self._actions, []
        return actions

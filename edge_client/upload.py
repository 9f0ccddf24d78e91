"""An update that is larger than a message, on its way in frames: which are still to be sent, and how many now."""

from collections import deque

from edge_client.events import PublishFrame
from fedloom.wire.chunks import Transfer, read_missing
from fedloom.wire.messages import Missing

WINDOW = 16
"""Frames that the link holds at once: enough for 1 MB/s and a second and a half from here to the broker and back."""
ASK_FROM = 16
"""Frames; a larger transfer begins with a question: the aggregator may have no room, or have most of it already."""


class Upload:
    """One transfer."""

    def __init__(self, transfer: Transfer, topic: str, digest: bytes, is_new: bool) -> None:
        """`is_new`: nothing of it has ever been sent."""
        self.transfer = transfer
        self.is_asking = False
        """A question has left, and nothing has come back."""
        self._was_sent = False
        self._is_lossy = False
        """Frames that have left did not arrive."""
        self._topic = topic
        self._digest = digest
        self._todo: deque[int] = deque(range(transfer.frames) if is_new and transfer.frames <= ASK_FROM else ())

    @property
    def has_frames(self) -> bool:
        """Whether there is something to be sent before anything has to be asked."""
        return bool(self._todo)

    @property
    def is_worth_asking(self) -> bool:
        """Whether all have left, and some are likely to be lost again."""
        return self._is_lossy and not self._todo and not self.is_asking

    def next(self, room: int) -> list[PublishFrame]:
        """As many frames as there is room for."""
        frames = [self._frame(self._todo.popleft()) for _ in range(min(room, len(self._todo)))]
        self._was_sent = self._was_sent or bool(frames)
        return frames

    def ask(self) -> bytes:
        """The question which frames are missing."""
        self.is_asking = True
        return self.transfer.question()

    def told(self, message: Missing) -> int:
        """The answer; returns how many are missing.

        Raises:
            Refused: MALFORMED.
        """
        self._todo = deque(read_missing(message.frames, self.transfer.frames))
        self.is_asking = False
        self._is_lossy = self._was_sent and bool(self._todo)
        return len(self._todo)

    def _frame(self, index: int) -> PublishFrame:
        start, size = self.transfer.span(index)
        return PublishFrame(self._topic, self.transfer.frame_header(index), self._digest, start, size)

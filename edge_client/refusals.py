"""Messages that were not believed: counted by reason, and told of so rarely that a flood does not fill the log."""

import logging
from collections import Counter

from edge_client.events import Log
from fedloom.errors import Reason, Refused
from fedloom.rarely import is_told


def count_refusal(counts: Counter[Reason], topic: str, refused: Refused) -> list[Log]:
    """Count one; the 1st, 2nd, 4th, 8th … of its reason gets a line."""
    counts[refused.reason] += 1
    count = counts[refused.reason]
    if not is_told(count):
        return []
    level = logging.ERROR if refused.reason is Reason.CONFLICT else logging.WARNING
    text = "message.refused topic=%s reason=%s detail=%r count=%d"
    return [Log(level, text, (topic, refused.reason.value, refused.detail, count))]

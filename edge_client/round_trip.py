"""How long an answer is waited for, from those that came: RTO = SRTT + 4 · RTTVAR, at least a second. No I/O, no clock.

    first:  SRTT = R, RTTVAR = R/2;   then:  RTTVAR ← ¾ RTTVAR + ¼ |SRTT − R|, SRTT ← ⅞ SRTT + ⅛ R

An answer to what was asked twice is not measured: nobody knows to which of the two it came (Karn's rule).

Source: Paxson, Allman, Chu, Sargent 2011, "Computing TCP's retransmission timer", RFC 6298, section 2.
"""

FIRST_S = 2.0
"""Before anything was measured."""
MIN_S = 1.0
"""RFC 6298's; nor does an aggregator answer one device more often."""
CAP_S = 60.0


class RoundTrip:
    """Of small messages to the aggregator and back."""

    def __init__(self) -> None:
        self.timeout_s = FIRST_S
        self._smoothed_s: float | None = None
        self._variation_s = 0.0

    def measured(self, seconds: float) -> None:
        """An answer took so long."""
        if self._smoothed_s is None:
            self._smoothed_s, self._variation_s = seconds, seconds / 2
        else:
            self._variation_s += (abs(self._smoothed_s - seconds) - self._variation_s) / 4
            self._smoothed_s += (seconds - self._smoothed_s) / 8
        self.timeout_s = min(CAP_S, max(MIN_S, self._smoothed_s + 4 * self._variation_s))

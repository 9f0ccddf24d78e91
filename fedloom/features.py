"""The names, and so the number, of the summary features that a job's windows become; a device computes them.

For `summary = "motion"`, each channel gives the numbers named in `MOTION_SUMMARIES`. Three consecutive features with
one stem and the endings x, y, z (ax, ay, az or gyro_x, gyro_y, gyro_z) are a sensor's axes, and their Euclidean
magnitude is one more channel: unlike the axes, it does not depend on how the sensor is worn.
"""

OCTAVES = 5
"""Band energies a channel: octave k is [2^(k-1), 2^k) periods a window."""
QUANTILES = (0.10, 0.25, 0.50, 0.75, 0.90)
MOTION_SUMMARIES = (
    "mean",
    *(f"q{round(100 * quantile)}" for quantile in QUANTILES),
    "crossings",
    *(f"octave{number}" for number in range(1, OCTAVES + 1)),
)


def triples(features: tuple[str, ...]) -> tuple[int, ...]:
    """Where a sensor's x, y and z follow one another: the positions of the x.

    >>> triples(("ax", "ay", "az", "temperature"))
    (0,)
    """
    return tuple(
        start
        for start, name in enumerate(features[:-2])
        if name[-1:] in ("x", "X")
        and features[start + 1] == name[:-1] + chr(ord(name[-1]) + 1)
        and features[start + 2] == name[:-1] + chr(ord(name[-1]) + 2)
    )


def channels(features: tuple[str, ...]) -> tuple[str, ...]:
    """The features, then the magnitude of each triple.

    >>> channels(("ax", "ay", "az"))
    ('ax', 'ay', 'az', '|a|')
    """
    magnitudes = (f"|{features[start][:-1].rstrip('_.- ')}|" for start in triples(features))
    return (*features, *magnitudes)


def summary_names(features: tuple[str, ...]) -> tuple[str, ...]:
    """What each input of the model is, in order: `mean(ax)`, `mean(ay)` …, `octave5(|w|)`."""
    return tuple(f"{summary}({channel})" for summary in MOTION_SUMMARIES for channel in channels(features))


def summary_width(features: tuple[str, ...]) -> int:
    """How many inputs a model of windows of these features has.

    >>> summary_width(("ax", "ay", "az", "wx", "wy", "wz"))
    96
    """
    return len(MOTION_SUMMARIES) * len(channels(features))

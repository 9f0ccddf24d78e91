"""Which of many like things are told, so that a flood does not fill the log."""


def is_told(count: int) -> bool:
    """Whether the `count`-th is: the 1st, 2nd, 4th, 8th ….

    >>> [count for count in range(1, 40) if is_told(count)]
    [1, 2, 4, 8, 16, 32]
    """
    return count.bit_count() == 1

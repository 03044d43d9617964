"""Whether two networks differ on the same images, or by chance."""


def mcnemar(num_first: int, num_second: int) -> float:
    """Return the probability of a difference at least this large if both networks were equally good.

    Source: McNemar 1947, exact and two-sided. It assumes that each image which only one network got right is equally
    likely to be the first's or the second's.

    Args:
        num_first, num_second: images that only the first, or only the second, got right.
    """
    num_only_one, fewer = num_first + num_second, min(num_first, num_second)
    part = tail = 1  # in whole numbers, which do not overflow
    for i in range(fewer):
        part = part * (num_only_one - i) // (i + 1)
        tail += part
    return min(1.0, 2 * tail / (1 << num_only_one))

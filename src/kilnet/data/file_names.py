"""What names of files tell: series, and pairs such as a photograph and its mask."""

import re
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath

SERIES = r"(?P<group>[^/]*?)\d+\.[^./]+$"
"""What stands before the last number of a name, such as exp1_num_ in exp1_num_4727.jpg."""
_MIN_SERIES = 3


def series_note(paths: Sequence[str]) -> str | None:
    """Return a line that proposes series as groups; None where names do not run in series.

    That is so where at least half of the pictures stand in series of two and more, and there are more series than
    classes, which often name their pictures.
    """
    names = [PurePosixPath(path).name for path in paths]
    found = Counter(match["group"] for name in names if (match := re.search(SERIES, name)) and match["group"])
    series = {name: count for name, count in found.items() if count > 1}
    num_folders = len({PurePosixPath(path).parent for path in paths})
    if len(series) < max(_MIN_SERIES, num_folders + 1) or sum(series.values()) < len(paths) / 2:
        return None
    largest = max(series, key=series.__getitem__)
    return (
        f"names run in {len(series):,} series, such as {largest} with {series[largest]:,} pictures; if the pictures "
        f"of a series belong together, keep them in one split with `data.group={SERIES!r}`"
    )


def pairs_note(paths: Sequence[str]) -> str | None:
    """Return a line that tells of pictures of one name with different endings, as photographs and masks have."""
    by_stem: defaultdict[str, list[str]] = defaultdict(list)
    for path in paths:
        by_stem[str(PurePosixPath(path).with_suffix(""))].append(path)
    pairs = [sorted(same) for same in by_stem.values() if len(same) > 1]
    if not pairs:
        return None
    times = "one name has" if len(pairs) == 1 else f"{len(pairs):,} names have"
    return (
        f"{times} pictures with different endings, first {' and '.join(min(pairs))}; if one of them is a mask or a "
        "copy, move it elsewhere"
    )

"""Which pictures a split keeps together, and what is to be said about it."""

from collections.abc import Container, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.data.groups import joined_groups
from kilnet.data.pictures import Pictures
from kilnet.data.splits import content_hashes


def kept_together(pictures: Pictures, group_names: Sequence[str] | None) -> npt.NDArray[np.int64] | None:
    """Return the groups that no split may part, equal pictures among them; None where only equal ones are together."""
    if group_names is None:
        return None
    keys = (group_names, content_hashes(pictures.images).tolist())
    return joined_groups(len(group_names), keys, np.empty((0, 2), np.int64))


def group_warnings(
    classes: Sequence[str], parts: Mapping[str, Split], given: Container[str] = ()
) -> tuple[str, ...]:
    """Say where groups could not be kept together, or a class not be in every split because of them.

    Args:
        parts: the splits, by name.
        given: the names of those that the user has made.
    """
    held = {name: part.groups for name, part in parts.items() if part.groups is not None}
    found = []
    for split in held:
        there = np.bincount(parts[split].labels, minlength=len(classes)) > 0
        absent = [name for name, is_there in zip(classes, there, strict=True) if not is_there]
        if absent and split not in given:
            others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            found.append(f"{split} has no image of class {absent[0]}{others}, which stand in too few groups")
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if one in held and other in held and (num := int(np.isin(held[other], held[one]).sum())):
            found.append(
                f"the given split leaks: {num:,} of {len(parts[other]):,} {other} images belong to groups that are in "
                f"{one} too, so their accuracy flatters"
            )
    return tuple(found)

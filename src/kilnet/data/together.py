"""Which pictures a split keeps together, and what is to be said about it."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import Split
from kilnet.data.groups import joined_groups
from kilnet.data.near_duplicates import kept_near_duplicates
from kilnet.data.pictures import Pictures
from kilnet.data.splits import content_hashes

_NO_PAIRS = np.empty((0, 2), np.int64)


def kept_together(
    pictures: Pictures, group_names: Sequence[str] | None, near: Literal["together", "apart"]
) -> npt.NDArray[np.int64] | None:
    """Return the groups that no split may part, equal pictures among them; None where only equal ones are together.

    Args:
        pictures: all of the data.
        group_names: of the user; None, near-duplicates are groups if they stay together.
        near: as `data.near_duplicates`.
    """
    is_named = group_names is not None
    pairs = _NO_PAIRS if is_named or near == "apart" else kept_near_duplicates(pictures.thumbnails)
    if not is_named and not len(pairs):
        return None
    equal = content_hashes(pictures.images).tolist()
    if not is_named and all(equal[one] == equal[other] for one, other in pairs.tolist()):
        return None
    return joined_groups(len(equal), (equal, *([group_names] if group_names else [])), pairs)


def near_notice(groups: npt.NDArray[np.int64]) -> str:
    """Say how many pictures stay together because they show nearly the same."""
    sizes = np.bincount(groups)
    num_groups, num_pictures = int((sizes > 1).sum()), int(sizes[sizes > 1].sum())
    return (
        f"{num_pictures:,} pictures in {num_groups:,} groups show nearly the same, and each group stays in one split; "
        "`data.near_duplicates='apart'` parts them"
    )


def group_warnings(
    classes: Sequence[str], parts: Mapping[str, Split], given: Collection[str] = ()
) -> tuple[str, ...]:
    """Say where groups could not be kept together, or a class not be in every split because of them.

    Args:
        parts: the splits, by name.
        given: the names of those that the user has made.
    """
    found = []
    for split in (name for name, part in parts.items() if part.groups is not None):
        there = np.bincount(parts[split].labels, minlength=len(classes)) > 0
        absent = [name for name, is_there in zip(classes, there, strict=True) if not is_there]
        if absent and split not in given:
            others = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
            found.append(f"{split} has no image of class {absent[0]}{others}, which stand in too few groups")
    if not given:  # then nothing is parted
        return tuple(found)
    held = {
        name: content_hashes(part.images) if part.groups is None else part.groups
        for name, part in parts.items()
    }
    for one, other in (("train", "validation"), ("train", "test"), ("validation", "test")):
        if one in held and other in held and (num := int(np.isin(held[other], held[one]).sum())):
            found.append(
                f"the given split leaks: {num:,} of {len(parts[other]):,} {other} images are equal, alike or of one "
                f"group with some of {one}, so their accuracy flatters"
            )
    return tuple(found)

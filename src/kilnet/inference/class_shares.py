"""A network used where classes are more or less common than where it was trained."""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import numpy.typing as npt

from kilnet.errors import InputError, nearest

ClassShares = Mapping[str, float] | Literal["equal"]
"""How common each class is where the network is used: numbers in proportion, by name; or all are equally common."""


def shift_of_logits(
    classes: Sequence[str], shares: ClassShares, learned: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """Return what is added to the logits, float64 (num_classes,).

    By Bayes' rule each probability is multiplied by the class's share there, and divided by the share that the network
    has learned. Source: Saerens et al. 2002, "Adjusting the Outputs of a Classifier to New a Priori Probabilities",
    equation 4.

    Args:
        classes: of the network.
        shares: of every class; they need not add up to 1.
        learned: (num_classes,), the logarithms of the shares that the network answers by.

    Raises:
        InputError: a class is missing or unknown, or a share is no positive number.
    """
    if shares == "equal":
        return -learned
    if isinstance(shares, str):
        raise InputError(f"`class_shares={shares!r}`: equal, or a share for each class: {_example(classes)}")
    if unknown := [name for name in shares if name not in classes]:
        raise InputError(
            f"`class_shares`: the network knows no {unknown[0]!r}{nearest(unknown[0], list(classes))}"
        )
    if missing := [name for name in classes if name not in shares]:
        raise InputError(f"`class_shares`: {missing[0]!r} is missing; each class needs a share")
    for name, share in shares.items():
        if not (math.isfinite(share) and share > 0):
            raise InputError(f"`class_shares`: {name!r} has the share {share}; it must be above 0")
    wanted = np.array([float(shares[name]) for name in classes])
    return np.asarray(np.log(wanted / wanted.sum()) - learned)


def parse_shares(text: str) -> ClassShares:
    """Read `equal`, or shares by name as in `cat=0.2,dog=0.8`.

    Raises:
        InputError: it is neither.
    """
    if text.strip() == "equal":
        return "equal"
    shares: dict[str, float] = {}
    for part in text.split(","):
        name, sign, number = part.rpartition("=")
        try:
            shares[name.strip()] = float(number)
        except ValueError:
            sign = ""
        if not sign:
            raise InputError(f"`class_shares={text!r}`: {part.strip()!r} is no share; write {_example(())}")
    return shares


def _example(classes: Sequence[str]) -> str:
    names = [*classes[:2], "cat", "dog"][:2]
    return f"{names[0]}=0.2,{names[1]}=0.8"

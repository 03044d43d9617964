"""What candidates for a budget reached in a small part of it, in words, and what is kept of the choice."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, pstdev

import torch
from pydantic import ValidationError

from kilnet import hardware
from kilnet.config import RunConfig
from kilnet.data.dataset import ImageDataset
from kilnet.inference.mcnemar import mcnemar
from kilnet.storage import recall, remember
from kilnet.training.first_stage import FirstStage
from kilnet.training.head import FittedHead

_LUCK = 0.05  # above this probability a difference may be luck
_FILE = "choices.json"


@dataclass(frozen=True, eq=False)
class Attempt:
    """What one candidate reached in a small part of the time.

    Attributes:
        title: of the candidate, in words.
        seconds: that it took.
        right: for each validation image that was looked at, by name, whether its answer is right.
        config: that gets the rest of the time if this one is chosen.
        dataset: its images.
        gain: factor on its errors that the rest of the time is expected to bring.
        is_unfinished: whether it has seen some of the training images alone, for lack of time.
        first: the first stage of a pretrained network that has seen all.
    """

    title: str
    seconds: float
    right: dict[str, bool]
    config: RunConfig
    dataset: ImageDataset
    gain: float
    is_unfinished: bool = False
    first: FirstStage | None = None

    @property
    def accuracy(self) -> float:
        """The part of the validation images that it has right."""
        return sum(self.right.values()) / len(self.right)

    @property
    def expected_error(self) -> float:
        """The part of wrong answers that is expected at the end; never 0, since few images leave room for some."""
        return self.gain * (1 - self.accuracy + 1 / len(self.right))


def verdict(attempts: Sequence[Attempt], best: Attempt) -> str:
    """Say in one line what was tried, what it gave, what gets the rest, and whether the difference may be luck."""
    found = ", ".join(
        f"{attempt.title} {attempt.accuracy:.1%} of {len(attempt.right)} validation images in {attempt.seconds:.0f} s"
        for attempt in attempts
    )
    line = f"tried: {found}; the rest of the time goes to {best.title}"
    for other in attempts:
        if other is best:
            continue
        if other.accuracy > best.accuracy:
            line += ", which is expected to gain more"
        chance = probability_of_luck(best.right, other.right)
        if chance > _LUCK:
            line += f" (so few images cannot tell them apart: p = {chance:.2f})"
    return line


def probability_of_luck(ours: dict[str, bool], theirs: dict[str, bool]) -> float:
    """Return the probability of such a difference between equals, by the images that both have looked at."""
    shared = ours.keys() & theirs.keys()
    won = sum(ours[name] and not theirs[name] for name in shared)
    lost = sum(theirs[name] and not ours[name] for name in shared)
    return mcnemar(won, lost)


def question(scratch: RunConfig, pretrained: Sequence[RunConfig], dataset: ImageDataset) -> str:
    """Return a name for what a choice depends on: images, candidates with their time, machine; all but the seed."""
    candidates = [config.model_dump(mode="json", exclude={"seed"}) for config in (scratch, *pretrained)]
    machine = hardware.machine(hardware.resolve_device(scratch.hardware.device))
    asked = json.dumps([dataset.fingerprint, candidates, machine, torch.__version__])
    return hashlib.sha256(asked.encode()).hexdigest()


def keep_choice(asked: str, config: RunConfig, line: str) -> None:
    """Keep what was chosen, and the line about it, for whoever asks again; where the cache can be written."""
    remember(_FILE, asked, {"config": config.model_dump(mode="json"), "line": line})


def kept_choice(asked: str, seed: int) -> tuple[RunConfig, str] | None:
    """Return what was chosen before, for a run of this seed, and the line about it; None where nothing is kept."""
    try:
        kept = recall(_FILE, asked)
        config = RunConfig.model_validate(kept["config"]).model_copy(update={"seed": seed})
        return config, f"{kept['line']}; so it was measured before"
    except (TypeError, KeyError, ValidationError):  # nothing is kept, or something else
        return None


def suiting(fitted: Sequence[FittedHead]) -> int:
    """Return which network to take, by the losses of images that cross-validation left out, the quickest network first.

    It is the quickest whose mean loss is at most a standard error of the difference above the lowest: what cannot be
    told apart on so few images leaves more time (the rule of Breiman et al. 1984, section 3.4.3, paired by image).
    Where there was no time to compare them, it is the largest.
    """
    if not all(one.left_out_losses for one in fitted):
        return len(fitted) - 1
    best = min(fitted, key=lambda one: one.left_out_loss)

    def is_behind(own: FittedHead) -> bool:
        if len(own.left_out_losses) != len(best.left_out_losses):  # one of them was cut short
            return own.left_out_loss > best.left_out_loss
        differences = [a - b for a, b in zip(own.left_out_losses, best.left_out_losses, strict=True)]
        return fmean(differences) > pstdev(differences) / math.sqrt(len(differences))

    return next(index for index, own in enumerate(fitted) if not is_behind(own))

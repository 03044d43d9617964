"""What a search asks of its workers, wherever they run: jobs go in, events come out."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, TypeAdapter

from kilnet.config import RunConfig
from kilnet.training.records import EpochRecord


@dataclass(frozen=True, kw_only=True)
class TrainingJob:
    """Train one run up to some epoch, or a part of the first; if it is there already, nothing is trained.

    Attributes:
        name: for people, unique among the running jobs: "trial 7", "finalist 7, seed 2".
        config: of the run, complete.
        folder: of the run; one that was begun resumes.
        images: what `share_images` wrote.
        until: epochs after which the job is done.
        score_validation: whether to write at the end which validation images the run classifies correctly.
        own_models: see `kilnet.models.complete`.
    """

    name: str
    config: RunConfig
    folder: Path
    images: Path
    until: float
    score_validation: bool = False
    own_models: frozenset[str] = frozenset()
    kind: Literal["train"] = "train"


@dataclass(frozen=True, kw_only=True)
class SpeedJob:
    """Time training steps on random images.

    Attributes:
        name: for people.
        config: of a run, with precision, layout and number of threads.
        image_shape: (channels, height, width).
        num_classes: number of logits.
        seconds: how long to time steps; at least one is timed.
        own_models: see `kilnet.models.complete`.
    """

    name: str
    config: RunConfig
    image_shape: tuple[int, int, int]
    num_classes: int
    seconds: float
    own_models: frozenset[str] = frozenset()
    kind: Literal["speed"] = "speed"


Job = TrainingJob | SpeedJob
_JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="kind")])


@dataclass(frozen=True, kw_only=True)
class WorkerEvent:
    """What happened to a job.

    Attributes:
        job: which.
        kind: "step" now and then, "epoch" after each, "done", "failed" (it cannot succeed), "crashed" (it may
            succeed the next time), "lost" (its machine is gone, which is no fault of the job), "blocked" (no job can
            succeed before somebody helps: a full disk).
        record: for "epoch".
        step, num_steps: for "step".
        images_per_second: for "done" of a `SpeedJob`.
        reason: for "failed", "crashed", "lost" and "blocked": one line.
    """

    job: Job
    kind: str
    record: EpochRecord | None = None
    step: int = 0
    num_steps: int = 0
    images_per_second: float = 0.0
    reason: str = ""

    @property
    def is_end(self) -> bool:
        """Whether the worker is free again."""
        return self.kind not in ("step", "epoch")


@dataclass(frozen=True)
class Notice:
    """A line for the user about what the search does."""

    line: str


class Workers(Protocol):
    """Do several jobs at the same time. All that a search asks of one machine, or of many."""

    @property
    def num_idle(self) -> int:
        """How many more jobs can be taken now."""

    @property
    def machines(self) -> Sequence[tuple[str, int]]:
        """The machines of a cluster, each with how many jobs it does; empty where all is done on this one."""

    def start(self, job: Job) -> None:
        """Begin a job; there must be an idle worker."""

    def next_event(self, timeout_seconds: float) -> WorkerEvent | Notice | None:
        """Wait for the next event, at most so long."""

    def close(self) -> None:
        """Stop; runs that are being trained save their state first."""


def job_to_line(job: Job) -> str:
    """Return a job as one line of JSON."""
    return json.dumps(_JOB.dump_python(job, mode="json", exclude_none=True))


def job_from_line(line: str) -> Job:
    """Return the job that `job_to_line` wrote."""
    return _JOB.validate_python(json.loads(line))

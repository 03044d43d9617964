"""What a network says of one picture."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Prediction:
    """What a network says of one picture.

    Attributes:
        name: the file's path; "" for a picture in memory.
        classes: all class names, the most probable first.
        probabilities: of `classes`, in the same order; they sum to 1.
        unsure: whether a person should look; None where the run is not calibrated.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    unsure: bool | None

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[0]

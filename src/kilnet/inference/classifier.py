"""A trained network with what it needs to be used, what it says of a picture, and the file that it is kept in."""

import unicodedata
from collections.abc import Iterable, Set
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import TypeAdapter
from torch import nn

from kilnet import models
from kilnet.config import ModelConfig, ViewsConfig, is_foreign
from kilnet.data.decode import to_input
from kilnet.data.preprocess import Preprocessing
from kilnet.errors import DataError, InputError, RunFolderError
from kilnet.hardware import Settings, resolve_device
from kilnet.inference import views
from kilnet.inference.calibration import Calibration
from kilnet.inference.evidence import with_strength
from kilnet.inference.kept_tensors import ADVICE, read_tensors, write_tensors
from kilnet.inference.unknown import KnownPictures
from kilnet.metrics.logits import UNSCALED, LogitScale, refuse_unusable, softmax
from kilnet.metrics.notebook import facts_html
from kilnet.storage import Text

_FORMAT = 1
_PADDED = ("fitting", "pad")  # left out, as before there was another way
_TIMED_PASSES = 3  # the first one warms up
_PREPROCESSING: TypeAdapter[Preprocessing] = TypeAdapter(Preprocessing)
_CLASSES: TypeAdapter[tuple[Text, ...]] = TypeAdapter(tuple[Text, ...])


@dataclass(frozen=True)
class Prediction:
    """What a network says of one picture.

    Attributes:
        name: the file's path; "" for a picture in memory.
        classes: all class names, the most probable first.
        probabilities: of `classes`, in the same order; they sum to 1.
        unsure: whether a person should look; None where the run is not calibrated.
        unknown: whether it is unlike all that the network was trained on; None where the run keeps no limit for that.
    """

    name: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    unsure: bool | None
    unknown: bool | None = None

    def __repr__(self) -> str:
        name = f"{self.name}: " if self.name else ""
        return f"Prediction({name}{self.label} {self.confidence:.1%}{', unsure' if self.unsure else ''})"

    def _repr_html_(self) -> str:
        best = zip(self.classes[:5], self.probabilities[:5], strict=True)
        facts = {name: f"{probability:.1%}" for name, probability in best}
        note = {"unsure": "a person should look"} if self.unsure else {}
        note |= {"unknown": "like none of the classes"} if self.unknown else {}
        return facts_html(self.name or "prediction", facts | note)

    @property
    def label(self) -> str:
        """The most probable class."""
        return self.classes[0]

    @property
    def confidence(self) -> float:
        """Its probability."""
        return self.probabilities[0]


@dataclass(frozen=True, eq=False)
class Classifier:
    """A trained network that takes pictures of any kind, and says how sure it is.

    Attributes:
        model: the network, in evaluation mode.
        model_config: its name and options.
        classes: class names; logits are in this order.
        preprocessing: normalisation, fitted on the training images.
        settings: device, precision, layout and threads.
        views: what it looks at where it is unsure.
        calibration: temperature and threshold, fitted on validation; None where there is none.
        shift: float64 (num_classes,), added to the scaled logits, where classes are
            not as common as in training; see `kilnet.inference.class_shares`.
    """

    model: nn.Module
    model_config: ModelConfig
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    settings: Settings
    views: ViewsConfig = field(default_factory=ViewsConfig)
    calibration: Calibration | None = None
    shift: npt.NDArray[np.float64] | None = None

    def __call__(self, pictures: Any) -> Any:
        """Classify a picture, or a list of them.

        Args:
            pictures: a path, a Pillow image, or an array or tensor of (height, width), (height, width, channels) or
                (channels, height, width), uint8 or floating point from 0 to 1; or a list, a tuple or an array of
                such. They are scaled as in training.

        Returns:
            A `Prediction`; for several pictures a list of them, in the same order.

        Raises:
            DataError: a picture cannot be used; the message names it.
        """
        several = isinstance(pictures, list | tuple) or getattr(pictures, "ndim", 0) == 4
        names, images = [], []
        for index, picture in enumerate(pictures if several else [pictures]):
            names.append(str(picture) if isinstance(picture, str | Path) else "")
            try:
                images.append(to_input(picture, self.image_shape, fitting=self.preprocessing.fitting))
            except DataError as error:
                raise DataError(f"{names[-1] or f'picture {index}'}: {error}") from None
        predictions = self.predictions(names, np.stack(images)) if images else []
        return predictions if several else predictions[0]

    @property
    def module(self) -> nn.Module:
        """The network as a torch module, for your own code.

        It expects float32 (num_images, channels, height, width) on the device of its parameters, of `image_shape`,
        RGB, normalised as `preprocessing` does it: scaled to 0 to 1, less the mean, by the standard deviation of each
        channel. It returns logits, float32 (num_images, num_classes), in the order of `classes`, for one
        view, without calibration. It is in evaluation mode.

            images = classifier.preprocessing(torch.as_tensor(pixels))  # uint8, of `image_shape`
            logits = classifier.module(images)
        """
        return self.model

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(channels, height, width) of the images it takes."""
        return len(self.preprocessing.mean), *self.preprocessing.image_size

    def logits(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return unnormalised log-probabilities, averaged over the views.

        Args:
            images: uint8 (num_images, channels, height, width), RGB, of `image_shape`.

        Returns:
            float32 (num_images, num_classes).

        Raises:
            DataError: dtype or shape do not fit.
            DivergedError: the network answers NaN or infinity.
        """
        return self._seen(self.model, images, self.views)

    def evidence(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return by what unknown pictures are told: logits, and the strength of features after them.

        They are averaged over the same views of every image, see `views.steady` and `with_strength`.

        Args:
            images: as for `logits`.

        Returns:
            float32 (num_images, num_classes + 1).
        """
        return self._seen(self._with_strength, images, views.steady(self.views))

    def judged(
        self, images: npt.NDArray[np.uint8]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return `logits` and `evidence`, by one pass where both look at the same views."""
        evidence = self.evidence(images)
        same = views.steady(self.views) == self.views
        return evidence[:, :-1] if same else self.logits(images), evidence

    @cached_property
    def _with_strength(self) -> nn.Module:
        examples = torch.zeros(2, *self.image_shape, dtype=torch.uint8, device=self.settings.device)
        return with_strength(self.model, self.settings.place_images(self.preprocessing(examples)))

    def _seen(
        self, model: nn.Module, images: npt.NDArray[np.uint8], looked_at: ViewsConfig
    ) -> npt.NDArray[np.float32]:
        pixels = self.as_pixels(images)
        found = views.logits(model, pixels, self.preprocessing, self.settings, looked_at).cpu().numpy()
        refuse_unusable(found, "pictures")
        return found

    def as_pixels(self, images: npt.NDArray[np.uint8]) -> torch.Tensor:
        """Return images that fit the network as a tensor, not normalised; see `logits` for what is refused."""
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[1:] != self.image_shape:
            raise DataError(
                f"this network takes uint8 images of shape (n, {', '.join(map(str, self.image_shape))}), "
                f"not {images.dtype} {images.shape}"
            )
        return torch.from_numpy(np.require(images, requirements=["C", "W"]))

    def probabilities(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return softmax of `logits`, calibrated where the run is: float32 (num_images, num_classes)."""
        return self._softmax(self.logits(images)).astype(np.float32)

    @property
    def scale(self) -> LogitScale:
        """What makes the logits those of calibrated confidences; nothing where the run is not calibrated."""
        return UNSCALED if self.calibration is None else self.calibration.scale

    @property
    def known(self) -> KnownPictures | None:
        """What pictures of none of the classes are told from; None where the run keeps nothing for that."""
        return None if self.calibration is None else self.calibration.known

    @property
    def unknown_above(self) -> float | None:
        """Strangeness above which a picture is like none of the classes; None where the run keeps no limit."""
        return None if self.known is None else self.known.limit

    def predict(self, images: npt.NDArray[np.uint8]) -> list[str]:
        """Return the most probable class name of each image; see `logits` for the images."""
        return [self.classes[index] for index in self.logits(images).argmax(1)]

    def predictions(self, names: Iterable[str], images: npt.NDArray[np.uint8]) -> list[Prediction]:
        """Return one prediction per image: uint8 (num_images, channels, height, width), of `image_shape`."""
        unknown: list[bool | None] = [None] * len(images)
        if self.known is None:
            logits = self.logits(images)
        else:
            logits, evidence = self.judged(images)
            unknown = (self.known.strangeness(evidence) > self.known.limit).tolist()
        probabilities = self._softmax(logits)
        order = np.argsort(-probabilities, axis=1, kind="stable")
        ranked = np.take_along_axis(probabilities, order, axis=1).tolist()
        return [
            Prediction(
                name,
                tuple(self.classes[index] for index in indices),
                tuple(values),
                None if self.calibration is None else self.calibration.unsure(values[0]),
                is_unknown,
            )
            for name, indices, values, is_unknown in zip(names, order.tolist(), ranked, unknown, strict=True)
        ]

    def _softmax(self, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float64]:
        scaled = self.scale(logits)
        return softmax(scaled if self.shift is None else scaled + self.shift)


def save_classifier(path: Path, classifier: Classifier, notes: dict[str, Any]) -> None:
    """Write the weights, with everything that `load_classifier` needs in the file's metadata.

    The same weights give the same bytes.

    Raises:
        StorageError: the file cannot be written; an older one is untouched.
    """
    description = {
        "format": _FORMAT,
        "model": classifier.model_config.model_dump(),
        "classes": classifier.classes,
        "preprocessing": {
            key: value for key, value in asdict(classifier.preprocessing).items() if (key, value) != _PADDED
        },
        **({"views": classifier.views.model_dump()} if classifier.views != ViewsConfig() else {}),
        **notes,
    }
    write_tensors(path, classifier.model.state_dict(), description)


def load_classifier(
    path: Path, settings: Settings | None = None, own_models: Set[str] = frozenset()
) -> Classifier:
    """Read weights that `save_classifier` wrote; nothing in the file is executed.

    A description may name any function that can be imported as the network's builder, and its arguments too: the
    author of the file would choose what runs here. So a builder outside `kilnet.models` is called only if the caller
    names it.

    Args:
        path: a `weights.safetensors`.
        settings: how to compute; by default fp32 on the best device there is.
        own_models: see `kilnet.models.complete`.

    Raises:
        RunFolderError: the file is missing, damaged, or not Kilnet's, or names a builder that the caller did not.
    """
    try:
        tensors, description = read_tensors(path, ADVICE)
    except FileNotFoundError:
        raise RunFolderError(f"{path}: not there; `kilnet train` writes it after the first epoch") from None
    if description.get("format") != _FORMAT:
        raise RunFolderError(
            f"{path}: its description is not of format {_FORMAT}, which this version of Kilnet reads"
        )
    try:
        preprocessing = _PREPROCESSING.validate_python(description["preprocessing"])
        height, width = preprocessing.image_size
        means, deviations = preprocessing.mean, preprocessing.std
        if not (len(means) == len(deviations) > 0 and min(deviations) > 0 and min(height, width) > 0):
            raise ValueError(f"no preprocessing: {preprocessing}")
        classes = _CLASSES.validate_python(tuple(description["classes"]))
        if not 0 < len(classes) == len(set(classes)):
            raise ValueError(f"classes {classes}")
        config = ModelConfig(**description["model"])
        views_config = ViewsConfig(**description.get("views", {}))
    except (KeyError, TypeError, ValueError) as error:
        reason = repr(error).splitlines()[0]
        raise RunFolderError(f"{path}: its description is incomplete: {reason}; {ADVICE}") from None
    refuse_unnamed(config, own_models, path)
    settings = settings or Settings(resolve_device("auto"), "fp32", "contiguous", torch.get_num_threads())
    shape = (len(means), height, width)
    model = models.build(config, shape, len(classes), own_models)
    try:
        model.load_state_dict(tensors)
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise RunFolderError(f"{path}: the weights do not fit {config.name}: {reason}") from None
    return Classifier(
        model=settings.place(model).eval(),
        model_config=config,
        classes=classes,
        preprocessing=preprocessing,
        settings=settings,
        views=views_config,
    )


def images_per_second(classifier: Classifier, images: npt.NDArray[np.uint8]) -> float:
    """Return how fast a network in memory classifies images here, with any further views: the best of a few passes."""
    seconds = []
    for _ in range(_TIMED_PASSES):
        start = perf_counter()
        classifier.logits(images)
        seconds.append(perf_counter() - start)
    return len(images) / min(seconds)


def refuse_unnamed(config: ModelConfig, own_models: Set[str], where: Path) -> None:
    """Raise RunFolderError for a network that `kilnet.models` would refuse, with the file that asks for it."""
    if is_foreign(config.name) and config.name not in own_models:
        raise RunFolderError(
            f"{where}: its network is {config.name}, code outside Kilnet that loading would run; "
            f"if it is yours, name it: `model={config.name!r}`"
        )


def match_classes(classifier: Classifier, names: tuple[str, ...]) -> npt.NDArray[np.int64]:
    """Return, for class names of other data, the network's index of each; both of Unicode's normal forms are the same.

    Raises:
        InputError: a name is not among the network's classes.
    """
    known = [unicodedata.normalize("NFC", name) for name in classifier.classes]
    wanted = [unicodedata.normalize("NFC", name) for name in names]
    if unknown := [name for name in wanted if name not in known]:
        raise InputError(
            f"the network does not know {', '.join(unknown)}; it was trained on {', '.join(classifier.classes)}"
        )
    return np.array([known.index(name) for name in wanted], np.int64)

"""Finding a picture: a file, or an image of a split."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from kilnet.data.dataset import ImageDataset
from kilnet.data.decode import to_input
from kilnet.errors import DataError, InputError
from kilnet.inference.classifier import Classifier


def find_picture(
    classifier: Classifier, dataset: ImageDataset, split: str, wanted: str | Path | int
) -> tuple[npt.NDArray[np.uint8], str, str | None]:
    """Return a picture as the network takes it, its name and its label.

    Args:
        classifier: the network.
        dataset: the data that has the split.
        split: name of the split.
        wanted: a number counts the images of the split, from 0. A text is the name of an image of the split, or else a
            file, or else (unless the images are named by numbers) such a number.

    Returns:
        uint8 (channels, height, width); the name; the class name, or None for a file.

    Raises:
        InputError: there is no such image or file, or the file is not a usable picture.
    """
    images, name = dataset.split(split), str(wanted)
    if isinstance(wanted, int):
        place = wanted
    elif name in images.names:
        place = images.names.index(name)
    elif Path(name).is_file():
        try:
            return to_input(Path(name), classifier.image_shape), Path(name).name, None
        except DataError as error:
            raise InputError(f"{wanted}: {error}") from None
    elif name.isdecimal() and not images.names[0].isdecimal():
        place = int(name)
    else:
        raise InputError(
            f"`image={name!r}`: neither a file nor an image of the {split} split, where names are like "
            f"{', '.join(images.names[:3])}"
        )
    if not 0 <= place < len(images):
        raise InputError(f"`image={wanted}`: the {split} split has images 0 to {len(images) - 1}")
    return images.images[place], images.names[place], dataset.classes[images.labels[place]]

"""From what the user calls a data set to images in memory."""

from pathlib import Path

from kilnet.config import DataConfig
from kilnet.data.adopt import PairDataset, adopt_dataset
from kilnet.data.cifar10 import load_cifar10
from kilnet.data.dataset import ImageDataset, Progress, silent
from kilnet.data.digits import load_digits
from kilnet.data.folder import load_folder
from kilnet.errors import DataError, nearest

NAMES = ("cifar10", "digits")
Data = str | Path | ImageDataset | PairDataset
"""What a caller may give as data: a name, a folder, or images in memory."""


def in_memory(data: Data, config: DataConfig, progress: Progress = silent) -> ImageDataset:
    """Load data, or read it into memory, unless it is there already; see `load_dataset` and `adopt_dataset`.

    Args:
        data: what the caller gave.
        config: says how; of a name or a folder also which.
        progress: told how far fetching and decoding are.
    """
    if isinstance(data, ImageDataset):
        return data
    if isinstance(data, str | Path):
        return load_dataset(config, progress)
    return adopt_dataset(data, config=config)


def located(config: DataConfig) -> DataConfig:
    """Write a folder's whole path down, so that the run can be repeated from anywhere."""
    if Path(config.source).expanduser().is_dir() and config.source not in NAMES:
        return config.model_copy(update={"source": str(Path(config.source).expanduser().resolve())})
    return config


def load_dataset(config: DataConfig, progress: Progress = silent) -> ImageDataset:
    """Load "cifar10", "digits" or a folder of pictures, as `config` says.

    Args:
        progress: told how far fetching and decoding are.

    Raises:
        DataError: there is no such data set or folder, or it cannot be used; one line says why.
        DownloadError: CIFAR-10 could not be fetched.
    """
    match config.source:
        case "cifar10":
            return load_cifar10(config, progress)
        case "digits":
            return load_digits(config)
        case source:
            return load_folder(find_folder(source), config, progress)


def find_folder(source: str) -> Path:
    """Return the folder of pictures that `source` names.

    Raises:
        DataError: it is no folder; the message tells a mistyped name from a missing folder.
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise DataError(
            f"{source}: a file, not a folder; give a folder with one sub-folder of pictures per class"
        )
    raise DataError(f"{source}: no such folder, nor a known data set{nearest(source, list(NAMES))}")

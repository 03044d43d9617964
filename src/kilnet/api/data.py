"""Whatever the caller calls data, as images in memory."""

from pathlib import Path

from kilnet.config import DataConfig
from kilnet.data.adopt import PairDataset, adopt_dataset
from kilnet.data.dataset import ImageDataset
from kilnet.data.sources import NAMES, load_dataset
from kilnet.reporting.progress import ProgressDisplay

Data = str | Path | ImageDataset | PairDataset


def in_memory(data: Data, config: DataConfig, display: ProgressDisplay) -> ImageDataset:
    """Load or read into memory what a verb was given, showing how far that is."""
    if isinstance(data, ImageDataset):
        return data
    if isinstance(data, str | Path):
        return load_dataset(config, display.advance)
    return adopt_dataset(data, config=config)


def located(config: DataConfig) -> DataConfig:
    """Write a folder's whole path down, so that the run can be repeated from anywhere."""
    if Path(config.source).expanduser().is_dir() and config.source not in NAMES:
        return config.model_copy(update={"source": str(Path(config.source).expanduser().resolve())})
    return config


def warn(dataset: ImageDataset, display: ProgressDisplay) -> None:
    """Show what the user should know of a data set: a foreign checksum, files that were skipped."""
    for warning in dataset.warnings:
        display.say(f"warning: {warning}")

"""Taking stock of a data set."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kilnet.data import inventory
from kilnet.data.inventory import Inventory
from kilnet.data.sources import Data, in_memory
from kilnet.errors import InputError
from kilnet.storage import given_path
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.request import requested


def inspect_data(
    data: Data = "cifar10",
    *,
    settings: Mapping[str, Any] | None = None,
    write_table: str | Path | None = None,
    progress: bool = True,
) -> Inventory:
    """Take stock of a data set: counts, sizes, unusable files, duplicates; all splits are counted, none is evaluated.

    Args:
        data: as for `train`.
        settings: values by dotted key, such as {"data.image_size": 32}.
        write_table: file in which to write a table of all pictures, with label and split as they are, which can be
            edited and then be trained on; not overwritten.
        progress: whether to show progress on standard error.

    Raises:
        KilnetError: see `kilnet.errors`; unusable files and classes that are too small are listed, not refused.
    """
    config = requested(data, None, None, settings, None, None, None)
    with ProgressDisplay(enabled=progress) as display:
        if isinstance(data, str | Path):
            table = None if write_table is None else given_path(write_table)
            return inventory.inspect_data(config.data, display.advance, table)
        if write_table is not None:
            raise InputError("`write_table` is for pictures in files, and these are in memory")
        return inventory.of_dataset(in_memory(data, config.data, display.advance))

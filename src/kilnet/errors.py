"""Every error a caller can meet; the command line ends with its `exit_code`.

Messages are one line: what is wrong, where, and after a semicolon what to do. They write arguments in backticks as
Python does, and name no option of the command line:

    f"`budget={text!r}`: write a time with its unit"
    f"{folder} is another run; choose another `out`"
    "one file is no usable image; `data.on_bad_image='skip'` leaves it out; `kilnet.inspect_data('photos')` lists it"

The command line puts them into its own words (`kilnet.cli.messages`). Settings have their dotted keys. A command leaves
out advice that names an option it lacks, so each piece of advice stands between semicolons of its own.
"""

import difflib
from typing import ClassVar


class KilnetError(Exception):
    """Base of all errors that Kilnet raises on purpose."""

    exit_code: ClassVar[int] = 1


class InputError(KilnetError, ValueError):
    """Something the caller gave cannot be used."""

    exit_code = 2


class ConfigError(InputError):
    """A key or a value of the configuration is wrong."""


class DataError(InputError):
    """A data set, a folder or an archive cannot be used as a whole."""


class UnusableImageError(DataError):
    """One image file cannot be used; the message is the reason, without the path."""


class TooLargeImageError(UnusableImageError):
    """One image file is above a limit on bytes, pixels, memory or time."""


class ModelError(InputError):
    """A network does not exist, or does not fit the images."""


class RunFolderError(InputError):
    """A run folder is missing, is not one, or belongs to another configuration."""


class BusyError(KilnetError):
    """Another process is writing this folder."""


class DownloadError(KilnetError):
    """No mirror delivered the file."""


class StorageError(KilnetError):
    """A file could not be written; what was there before is untouched."""


class DivergedError(KilnetError):
    """The training loss became NaN or infinite."""


class WorkerError(KilnetError):
    """No worker process can be started, or no trial of a search succeeds."""


class VerificationError(KilnetError):
    """An exported file does not answer as Kilnet does; it is not kept."""


class MissingPackageError(KilnetError):
    """A package of an optional part of Kilnet is not installed."""


class PortError(KilnetError):
    """A server cannot listen where it was told to."""


class LostRankError(KilnetError):
    """Another process of a training that several share has ended."""


class InterruptedRunError(KilnetError):
    """The user stopped the run; its state is saved."""

    exit_code = 130


def nearest(word: str, choices: list[str]) -> str:
    """Return "; did you mean X?" for the choice nearest to `word`, or a list of the choices."""
    # First a right name in the wrong group: training.lr for optimizer.lr.
    namesakes = [choice for choice in choices if choice.rpartition(".")[2] == word.rpartition(".")[2]]
    matches = difflib.get_close_matches(word, namesakes, n=1, cutoff=0)
    matches = matches or difflib.get_close_matches(word, choices, n=1, cutoff=0.5)
    return f"; did you mean {matches[0]}?" if matches else f"; there are {', '.join(choices)}"

"""What the verbs that serve a page have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from kilnet.errors import MissingPackageError


@contextmanager
def server_packages(what: str) -> Iterator[None]:
    """Within this context modules of `kilnet.server` are imported.

    Args:
        what: needs them, for the message.

    Raises:
        MissingPackageError: the extra `serve` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"{what} needs {error.name}, which is not installed: pip install 'kilnet[serve]'"
        raise MissingPackageError(message) from None

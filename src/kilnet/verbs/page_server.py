"""What the verbs that serve a page have in common."""

from collections.abc import Iterator
from contextlib import contextmanager

from kilnet.errors import MissingPackageError
from kilnet.terminal.console import TerminalConsole


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


def warn_of_exposure(host: str, deeds: str, progress: bool) -> None:
    """Say on standard error who else can reach a page, where it is not this machine alone.

    Args:
        host: where the page is served.
        deeds: what can be done there.
        progress: whether anything is to be said.
    """
    from kilnet.server.guard import exposure  # of the extra `serve`

    if line := exposure(host, deeds):
        TerminalConsole(stderr=True, quiet=not progress).print(line, soft_wrap=True)

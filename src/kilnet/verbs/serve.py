"""A run as a web page and a JSON API."""

from collections.abc import Callable
from pathlib import Path

from kilnet.errors import InputError, KilnetError
from kilnet.runs.run import Run
from kilnet.server.answers import Example, examples_of, is_at_hand
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.page_server import server_packages, warn_of_exposure
from kilnet.verbs.winner import opened_or_winner


def serve(
    run: Run | str | Path,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    model: str | None = None,
    data_dir: str | None = None,
    started: Callable[[str], None] = lambda _: None,
    progress: bool = True,
) -> None:
    """Serve a run until the process is interrupted.

    A page takes pictures and shows classes, calibrated confidence and where the network looked; `/api/openapi.json`
    documents the same as an API. Anyone who can reach `host` may use it; the default is this machine alone.

    Args:
        run: what `train` returned, or its folder.
        host: name or address to listen at.
        port: 0 takes a free one.
        model: see `load`.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training; the page's examples are from it.
        started: called with the URL once connections are accepted.
        progress: whether to show progress on standard error.

    Raises:
        MissingPackageError: the extra `serve` is not installed.
        PortError: the port is in use.
        InputError: there is no such run or address.
        KeyboardInterrupt: Ctrl-C, once the server has ended.
    """
    with server_packages("serving"):
        from kilnet.server import app, guard, listen
    with listen.bind(host, port) as bound:
        run = opened_or_winner(run, model)
        classifier = run.calibrated_classifier()
        with ProgressDisplay(enabled=progress) as display:
            examples = _examples(run, data_dir, display)
            if classifier.calibration is None:
                display.say("not calibrated: confidences are raw; `kilnet evaluate` calibrates a run")
        warn_of_exposure(host, "use the network and see its examples", progress)
        name = run.folder.resolve().name
        application = app.make_app(classifier, name, examples, guard.own_names(host))
        listen.run(application, bound, lambda: started(listen.url_of(bound, host)))


def _examples(run: Run, data_dir: str | None, display: ProgressDisplay) -> tuple[Example, ...]:
    """Images to click, or none where the run's own data is not at hand; the reason is shown."""
    try:
        if not is_at_hand(run.data_config(data_dir)):
            raise InputError("the data is not on this machine")
        return examples_of(run.own_data(data_dir=data_dir, progress=display.advance).sealed())
    except KilnetError as error:
        display.say(f"no examples on the page: {error}")
        return ()

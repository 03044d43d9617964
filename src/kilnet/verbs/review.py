"""A page on which a person puts labels right."""

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kilnet.config import is_foreign
from kilnet.data.answer_table import AnswerTable, counted
from kilnet.data.corrections import table_rows
from kilnet.data.growing_labels import GrowingLabels
from kilnet.data.sources import NAMES, Data
from kilnet.errors import InputError
from kilnet.inspection.review_queue import UNLABELLED, ReviewItem
from kilnet.inspection.review_run import RunReview, original_folder
from kilnet.inspection.unlabelled import to_label
from kilnet.runs.run import Run
from kilnet.runs.wording import WORDS
from kilnet.storage import given_path, read_text
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.evaluate import evaluated
from kilnet.verbs.inspect import held_out
from kilnet.verbs.page_server import server_packages, warn_of_exposure
from kilnet.verbs.winner import opened_or_winner


@dataclass(frozen=True)
class Reviewed:
    """What has been answered, when a review ends.

    Attributes:
        file: the table with the answers.
        counts: how many have each verdict; those of earlier reviews are among them.
        next_call: what trains with them; None where the data has no name.
    """

    file: Path
    counts: dict[str, int]
    next_call: str | None


def review(
    run: Run | str | Path,
    *,
    unlabelled: str | Path | None = None,
    count: int = 100,
    out: str | Path | None = None,
    num_folds: int | None = None,
    host: str = "127.0.0.1",
    port: int = 8002,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    started: Callable[[str], None] = lambda _: None,
    progress: bool = True,
) -> Reviewed:
    """Serve a page of suspicious pictures until the process is interrupted; a person says what is right.

    Shown are labels that are probably wrong, near-duplicates in two classes, and pictures that look like none of the
    classes, of training and validation; those of the test only once a click has confirmed it. Each answer is in
    `corrections.csv` before the next picture comes, and the same call goes on where it was. No file of the data
    changes: the setting `data.corrections` of a training uses the table.

    Args:
        run: what `train` returned, or its folder.
        unlabelled: a folder of pictures without labels: show those that are to be labelled next instead. What is
            answered becomes a table to train on, `labels.csv` in the run's folder or `out`, in which the run's own
            pictures are too, where they are files; beside it, a table of all answers.
        count: how many pictures of that folder.
        out: the table; by default `corrections.csv` in the run's folder.
        num_folds: judge the training labels by so many networks, each trained without a part of them, as
            `kilnet.inspect` does; by default by those that there are, else by a last layer fitted without them.
        host: name or address to listen at.
        port: 0 takes a free one.
        data: the run's data, if it cannot be loaded by its name or has moved.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `load`.
        started: called with the URL once connections are accepted.
        progress: whether to show progress on standard error.

    Returns:
        What has been answered, once the process is interrupted.

    Raises:
        MissingPackageError: the extra `serve` is not installed.
        PortError: the port is in use.
        InputError: there is no such run or address.
        KilnetError: see `kilnet.errors`.
    """
    with server_packages("reviewing"):
        from kilnet.server import guard, listen
        from kilnet.server.review_app import make_review_app
        from kilnet.server.review_pictures import ReviewPictures
        from kilnet.server.review_session import ReviewSession
    folder = None if unlabelled is None else given_path(unlabelled)
    if folder is not None and not folder.is_dir():
        raise InputError(f"`unlabelled={str(unlabelled)!r}`: no such folder")
    if count < 1:
        raise InputError(f"`count={count}`: must be at least 1")
    with listen.bind(host, port) as bound:
        run = opened_or_winner(run, model)
        run.classifier.settings.with_all_threads().apply()
        default = run.files.corrections_path if folder is None else run.files.labels_path
        path = _writable(default if out is None else given_path(out))
        with ProgressDisplay(enabled=progress) as display:
            dataset = run.own_data(data, data_dir, display.advance)
            display.warn(dataset.warnings)
            run.calibrate(dataset)
            own_folder = original_folder(run, data if isinstance(data, str | Path) else None)
            if folder is None:
                begun_with = _used(run)
                table = AnswerTable(path, begun_with)
                of_training = None if num_folds is None else held_out(run, num_folds, display)
                reviewed = RunReview(
                    run, dataset, run.calibrated_classifier(), of_training, display.advance, display.say
                )
                pictures = ReviewPictures(reviewed.images, own_folder)

                def more() -> Sequence[ReviewItem]:
                    reviewed.add(evaluated(run, "test"))
                    pictures.add("test", dataset.test.images)
                    return reviewed.items()

                original = {row["file"]: row["label"] for row in begun_with}
                session = ReviewSession(dataset.classes, reviewed.items(), table, original, more)
                call = _next_call(run, path, data, data_dir)
            else:
                table = AnswerTable(path.with_name(f"{path.stem}-answers.csv"))
                labels = GrowingLabels(path, folder, dataset, own_folder)
                split, items = to_label(run.calibrated_classifier(), folder, dataset, count, display.advance)
                pictures = ReviewPictures({UNLABELLED: split.images}, folder)
                session = ReviewSession(dataset.classes, items, table, answered=labels.write)
                settings = {"data.root": str(labels.root)}
                call = f"kilnet.train({str(path)!r}, budget='10m', settings={settings!r})"
        warn_of_exposure(host, "see these pictures and answer", progress)
        facts = {
            "name": run.folder.resolve().name,
            "kind": "labels" if folder is None else UNLABELLED,
            "next": _in_words(call),
        }
        application = make_review_app(session, pictures, facts, guard.own_names(host))
        with suppress(KeyboardInterrupt):  # as a review ends
            listen.run(application, bound, lambda: started(listen.url_of(bound, host)))
        return Reviewed(table.path, counted(table.rows()), call)


def _used(run: Run) -> list[dict[str, str]]:
    """Return the rows of the corrections that the run was trained with, which the next ones include."""
    path = run.files.used_corrections_path
    if run.config.data.corrections is None or not path.exists():
        return []
    return [cells for _, cells in table_rows(read_text(path), str(path))]


def _writable(path: Path) -> Path:
    if path.is_dir() or path.suffix.lower() != ".csv":
        raise InputError(f"`out={str(path)!r}`: give a file whose name ends in .csv")
    if not path.parent.is_dir():
        raise InputError(f"`out={str(path)!r}`: there is no folder {path.parent}")
    return path


def _next_call(run: Run, table: Path, data: Data | None, data_dir: str | None) -> str | None:
    """Return what trains as the run was trained, with the corrections."""
    source = run.config.data.source if data is None else data
    if not isinstance(source, str | Path) or (source not in NAMES and not given_path(source).exists()):
        return None  # images in memory
    settings = {"data.corrections": str(table)} | ({"data.dir": data_dir} if data_dir else {})
    given = {"recipe": str(run.files.config_path), "settings": settings}
    if is_foreign(run.config.model.name):
        given["model"] = run.config.model.name
    return f"kilnet.train({str(source)!r}, {', '.join(f'{key}={value!r}' for key, value in given.items())})"


def _in_words(call: str | None) -> str:
    """Return a call as the user would type it."""
    return "" if call is None else WORDS.get()(f"next: `{call}`").removeprefix("next: ").strip("`")

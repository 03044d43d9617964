"""Exporting a run as one file."""

from contextlib import suppress
from pathlib import Path

from kilnet.data.sources import NAMES, Data, source_of
from kilnet.errors import InputError
from kilnet.exporting import exported_file as exporting
from kilnet.exporting.exported_file import Export
from kilnet.exporting.model_card import model_card
from kilnet.runs.run import Run
from kilnet.storage import given_path, read_text, write_text
from kilnet.terminal.progress import ProgressDisplay
from kilnet.verbs.winner import opened_or_winner


def export(
    run: Run | str | Path,
    format: str = "onnx",  # noqa: A002 the word for it
    *,
    out: str | Path | None = None,
    data: Data | None = None,
    data_dir: str | None = None,
    model: str | None = None,
    progress: bool = True,
) -> Export:
    """Export a run as one verified file with preprocessing, class names and temperature inside.

    The exported file and Kilnet classify the same validation images, each from the bytes of its file; an exported
    file that answers differently is not kept. The numbers (`<name>.proof.json`) and a model card (README.md) lie
    beside it.

    Args:
        run: what `train` returned, or its folder.
        format: "onnx", "torch" (a `torch.export` program) or "int8" (ONNX, quantised on training images).
        out: the file; by default in `exports/` of the run.
        data: what the run was trained on, if that is no folder and no name, or has moved.
        data_dir: where a copy of CIFAR-10 lies, if not where it lay in training.
        model: see `load`.
        progress: whether to show progress on standard error.

    Raises:
        VerificationError: the exported file answers differently from Kilnet.
        InputError: `out` or the README.md beside it belongs to something else.
        DataError: the data is not what the run was trained on.
        KilnetError: see `kilnet.errors`.
    """
    run = opened_or_winner(run, model)
    name = exporting.file_name(format)
    path = given_path(out) if out is not None else run.files.export_path(format, name)
    card = exporting.card_path(path)
    _refuse_to_replace(path, card)
    with ProgressDisplay(enabled=progress) as display:
        dataset = run.own_data(data, data_dir, display.advance).sealed()
        run.calibrate(dataset)
        classifier = run.calibrated_classifier()
        given = run.config.data.source if data is None else data
        source = source_of(given) if isinstance(given, str | Path) else None
        pictures = None if source is None or source in NAMES else given_path(source)
        made = exporting.export(classifier, dataset, pictures, format, path)
    write_text(card, model_card(made, classifier, run.environment, run.evaluations()))
    return made


def _refuse_to_replace(path: Path, card: Path) -> None:
    """Refuse to overwrite anything but an older export."""
    if path.is_dir() or (path.exists() and not exporting.verification_path(path).exists()):
        raise InputError(f"{path} exists, and Kilnet did not export it; choose another `out`")
    text = ""
    with suppress(OSError, UnicodeDecodeError):
        text = read_text(card)
    if card.exists() and f'file: "{path.name}"' not in text:
        raise InputError(f"{card} exists, and is not about {path.name}; choose an `out` in another folder")

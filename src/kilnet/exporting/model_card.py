"""The model card: what an exported file is, how good and how sure it is, and how to use it."""

import json
from collections.abc import Mapping
from typing import Any

from kilnet.config import Fit
from kilnet.exporting.deployed import resize_rule
from kilnet.exporting.exported_file import Export
from kilnet.inference.classifier import Classifier
from kilnet.inference.unknown import KNOWN_KEPT
from kilnet.metrics.classification import Evaluation
from kilnet.metrics.intervals import wilson_interval
from kilnet.models.pretrained import origin
from kilnet.runs.wording import hidden_by_accuracy, macro_recall_with_interval, one_line

_MARKUP = frozenset("\\`*_{}[]<>()#+-!|&~")

_SCRIPT = '''\
"""Classify pictures with an exported file: python classify.py model.onnx PICTURE..."""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
notes = session.get_modelmeta().custom_metadata_map
classes, channels, side = json.loads(notes["classes"]), int(notes["channels"]), int(notes["image_height"])
unknown_above = json.loads(notes["unknown_above"])


def to_input(path):
    picture = ImageOps.exif_transpose(Image.open(path))
    if picture.mode.startswith("I"):  # 16-bit grey becomes 8-bit
        picture = Image.fromarray(((np.asarray(picture).astype(int) + 128) // 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    picture = picture.convert("RGB").convert("RGB" if channels == 3 else "L")
    {square}
    return np.asarray(square).reshape(side, side, channels).transpose(2, 0, 1)


for path in sys.argv[2:]:
    (probabilities,), (strangeness,) = session.run(None, {"images": to_input(path)[None]})
    order = np.argsort(-probabilities)
    ranked = [{"class": classes[i], "probability": float(probabilities[i])} for i in order]
    unknown = None if unknown_above is None else bool(strangeness > unknown_above)
    print(json.dumps({"file": path, "classes": ranked, "unknown": unknown}))
'''
_SQUARE: dict[Fit, str] = {
    "pad": """\
    width, height = (max(1, round(length * side / max(picture.size))) for length in picture.size)
    square = Image.new(picture.mode, (side, side))
    small = picture.resize((width, height), Image.Resampling.BICUBIC)
    square.paste(small, ((side - width) // 2, (side - height) // 2))
""",
    "crop": """\
    length = min(picture.size)
    left, top = ((total - length) / 2 for total in picture.size)
    box = (left, top, left + length, top + length)
    square = picture.resize((side, side), Image.Resampling.BICUBIC, box)
""",
    "stretch": """\
    square = picture.resize((side, side), Image.Resampling.BICUBIC)
""",
}


def script(fitting: Fit) -> str:
    """Return a program that classifies pictures with an exported file, without Kilnet."""
    return _SCRIPT.replace("    {square}\n", _SQUARE[fitting])


def model_card(
    exported: Export,
    classifier: Classifier,
    environment: Mapping[str, Any],
    evaluations: Mapping[str, Mapping[str, Any]],
) -> str:
    """Return README.md for an exported file: Markdown with YAML front matter.

    Args:
        exported: the file and its verification.
        classifier: the network.
        environment: the content of the run's environment.json.
        evaluations: the content of its evaluation.json, by split.
    """
    data = environment.get("data", {})
    num_train = data.get("num_train")
    parts = [
        _front_matter(exported),
        f"# {_text(classifier.model_config.name)} for {_text(data.get('name', 'pictures'))}",
        f"A classifier of pictures, trained with Kilnet{f' on {num_train:,} images' if num_train else ''} "
        f"and exported as {_text(exported.path.name)} ({exported.num_bytes / 1e6:.2f} MB, {exported.format}).",
        *([f"It began with {_text(weights)}."] if (weights := origin(classifier.model_config)) else []),
        "## Classes",
        "\n".join(f"* {_text(name)}" for name in classifier.classes),
        "## Input and output",
        _interface(classifier),
        "## How good it is",
        _scores(evaluations),
        *(f"Beware: {_text(warning)}." for warning in data.get("warnings", []) if "split leaks" in warning),
        *(
            f"Corrected data: {_text(found['told'])} (SHA-256 {found['sha256']})."
            for found in (data.get("corrections"),)
            if found
        ),
        "## How sure it is",
        "Its probabilities are not calibrated."
        if classifier.calibration is None
        else f"Calibrated on validation images: {classifier.calibration.summary()}.",
        "## How this file was verified",
        _verification(exported),
        "## Use",
        _use(exported, classifier),
        "## Limits",
        _limits(classifier),
    ]
    return "\n\n".join(parts) + "\n"


def _front_matter(exported: Export) -> str:
    entries = {
        "library_name": "pytorch" if exported.format == "torch" else "onnx",
        "pipeline_tag": "image-classification",
        "tags": ["kilnet", exported.format],
        "file": exported.path.name,
        "sha256": exported.sha256,
    }
    lines = [f"{key}: {json.dumps(value)}" for key, value in entries.items()]  # JSON is YAML
    return "\n".join(["---", *lines, "---"])


def _interface(classifier: Classifier) -> str:
    channels, height, width = classifier.image_shape
    return "\n".join(
        [
            f"* `images`: uint8, (any number, {channels}, {height}, {width}), {'RGB' if channels == 3 else 'grey'}. "
            "Normalisation is inside the file.",
            f"* `probabilities`: float32, (any number, {len(classifier.classes)}), in the order of the classes above. "
            "Temperature and softmax are inside the file.",
            "* `strangeness`: float32, (any number,): how little a picture is like known ones of its class, in their "
            "standard deviations. "
            + (
                "The run keeps no limit for it."
                if classifier.unknown_above is None
                else f"Above {classifier.unknown_above:.4g} it is probably of no class."
            ),
            f"* Prepare a picture like this before the file sees it: {resize_rule(classifier.preprocessing.fitting)}.",
        ]
    )


def _scores(evaluations: Mapping[str, Mapping[str, Any]]) -> str:
    lines = []
    for split, entry in evaluations.items():
        num_correct, num_images = entry["num_correct"], entry["num_images"]
        low, high = wilson_interval(num_correct, num_images)
        lines.append(
            f"* {_text(split)}: {num_correct:,} of {num_images:,} images right, {num_correct / num_images:.1%} "
            f"({low:.1%}–{high:.1%}, 95% Wilson)"
        )
        if entry.get("macro_recall") is not None:
            evaluation = Evaluation.from_dict(entry)
            said = [f"macro recall {macro_recall_with_interval(evaluation)}", *hidden_by_accuracy(evaluation)]
            lines[-1] += f"; {_text('; '.join(said))}"
    if "test" not in evaluations:
        lines.append("* Not yet evaluated on test images.")
    return "\n".join(lines)


def _verification(exported: Export) -> str:
    found, allowed = exported.verification, exported.verification.tolerance
    return "\n".join(
        [
            f"It answered as Kilnet does on {exported.images}, run by {exported.runtime}:",
            "",
            "| | found | required |",
            "|---|---|---|",
            f"| same class | {found.agreement:.2%} | at least {allowed.agreement:.2%} |",
            f"| largest difference of a probability | {found.largest_difference:.2g} | "
            f"at most {allowed.difference:g} |",
            f"| accuracy lost, in points | {100 * found.accuracy_lost:.2f} | at most "
            f"{100 * allowed.accuracy_lost:.2f}, or one image |",
            *(
                []
                if found.agreement_unknown is None
                else [
                    f"| unknown to both or to neither | {found.agreement_unknown:.2%} | at least "
                    f"{allowed.agreement:.2%}, or all but one image |"
                ]
            ),
        ]
    )


def _use(exported: Export, classifier: Classifier) -> str:
    if exported.format != "torch":
        return f"With onnxruntime, numpy and Pillow alone:\n\n```python\n{script(classifier.preprocessing.fitting)}```"
    return (
        "`torch.export.load` unpickles parts of the file: load it only if you trust who made it.\n\n"
        "```python\nimport torch\n\n"
        f"network = torch.export.load({exported.path.name!r}).module()\n"
        f"images = torch.zeros(1, {', '.join(map(str, classifier.image_shape))}, dtype=torch.uint8)\n"
        "probabilities, strangeness = network(images)\n```"
    )


def _limits(classifier: Classifier) -> str:
    told = (
        "It names one of its classes for any picture, even for one that shows none of them, and these numbers hold "
        "only for pictures like those it was trained on."
    )
    if classifier.unknown_above is None:
        return told
    return f"{told} Of known pictures, {1 - KNOWN_KEPT:.0%} are above the limit of `strangeness` too."


def _text(name: str) -> str:
    """Return user text for Markdown, with its markup escaped."""
    return "".join(f"\\{character}" if character in _MARKUP else character for character in one_line(name))

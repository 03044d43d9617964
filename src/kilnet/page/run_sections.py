"""Sections about the training of a run and its settings."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from kilnet.config import RunConfig
from kilnet.page.document import Section
from kilnet.page.svg import Axis, Line, line_chart
from kilnet.training.records import EpochRecord


def curves(history: Sequence[EpochRecord]) -> Section:
    """Return the loss and accuracy by epoch; the weights of the last best epoch are the ones that are kept."""
    kept = [record for record in history if record.is_best][-1]
    summary = (
        f"{history[-1].epoch} epochs. The weights of epoch {kept.epoch} are kept: validation loss "
        f"{kept.validation_loss:.4f} nats per image, accuracy {kept.validation_accuracy:.1%}."
    )
    first = history[0].epoch if len(history) > 1 else 0
    epochs = Axis("epoch", first, history[-1].epoch, is_whole=True)
    highest = max(max(record.train_loss, record.validation_loss) for record in history)
    axes = {
        "loss": Axis("cross-entropy (nats per image)", 0, 1.05 * highest),
        "accuracy": Axis("accuracy (%)", 0, 100),
    }
    charts = {
        quantity: line_chart(
            f"{quantity.capitalize()} of training and validation by epoch. {summary} The table has the numbers.",
            epochs,
            axis,
            [
                Line(kind, [(row.epoch, scale * getattr(row, f"{split}_{quantity}")) for row in history])
                for kind, split in (("first", "train"), ("second", "validation"))
            ],
            kept.epoch,
        )
        for (quantity, axis), scale in zip(axes.items(), (1, 100), strict=True)
    }
    content = {"summary": summary, "history": [asdict(record) for record in history], **charts}
    return Section("curves", "Learning curves", "curves", content)


def repeat(config: RunConfig, environment: Mapping[str, Any]) -> Section:
    """Return the complete settings, the environment, and the command that repeats the run."""
    named = ["--model", config.model.name] if ":" in config.model.name else []
    content = {
        "what": "run",
        "command": shlex.join(["kilnet", "train", config.data.source, "--recipe", "config.toml", *named]),
        "begun_with": environment.get("command", "–"),
        "config": config.to_toml(),
        "environment": facts(environment),
    }
    return Section("repeat", "Configuration and environment", "repeat", content)


def facts(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the environment of a run or a search as names and values."""
    settings = environment.get("settings", {})
    data = environment.get("data", {})
    packages = environment.get("packages", {})
    known = {
        "Kilnet": environment.get("kilnet"),
        "Python": environment.get("python"),
        **packages,
        "system": environment.get("system"),
        "machine": environment.get("machine"),
        "computed with": ", ".join(
            f"{key} {settings[key]}"
            for key in ("device", "precision", "layout", "threads")
            if key in settings
        ),
        "measured": settings.get("reason"),
        "data": data.get("name"),
        "fingerprint of training and validation data": data.get("fingerprint"),
        "images to train on": data.get("num_train"),
        "images to validate on": data.get("num_validation"),
        "image shape (channels, height, width)": " × ".join(map(str, data.get("image_shape", []))),
        "warnings about the data": "; ".join(data.get("warnings", [])),
        "parameters": environment.get("num_parameters"),
    }
    return [
        (key, f"{value:,}" if isinstance(value, int) else str(value))
        for key, value in known.items()
        if value not in (None, "")
    ]

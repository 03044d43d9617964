"""Sections about a run's training, settings and network."""

import json
import shlex
import tomllib

import numpy as np
import pytest

from inspected import config_net, without_convolution
from kilnet.inspection.layer_table import layer_table
from kilnet.page import run_sections
from kilnet.page.document import render
from kilnet.recipes.reading import load_config
from kilnet.training.records import EpochRecord


def record(epoch, loss, is_best):
    return EpochRecord(
        epoch=epoch,
        lr=0.1,
        train_loss=2.5,
        train_accuracy=0.4,
        validation_loss=loss,
        validation_accuracy=0.5 + epoch / 100,
        num_validation_correct=50 + epoch,
        num_validation=100,
        is_best=is_best,
    )


def test_curves_name_the_epoch_whose_weights_are_kept():
    section = run_sections.curves([record(1, 2.0, True), record(2, 1.25, True), record(3, 1.5, False)])
    assert section.content["summary"] == (
        "3 epochs. The weights of epoch 2 are kept: validation loss 1.2500 nats per image, accuracy 52.0%."
    )
    assert [row["validation_loss"] for row in section.content["history"]] == [2.0, 1.25, 1.5]
    for drawing in (section.content["loss"], section.content["accuracy"]):
        assert drawing.count("<polyline") + drawing.count("<path") >= 2, "training and validation"
    alone = run_sections.curves([record(1, 2.0, True)])
    assert "epoch 1 are kept" in render("t", "s", [alone])


@pytest.mark.parametrize(("model", "named"), [("ConvNet", []), ("own.nets:net", ["--model", "own.nets:net"])])
def test_the_command_repeats_the_run_even_from_a_folder_with_spaces(model, named):
    config = load_config(settings={"data.source": "/my photos/$x"})
    config = config.model_copy(update={"model": config.model.model_copy(update={"name": model})})
    environment = {"command": "kilnet train x", "num_parameters": 12345, "data": {"num_train": 6000}}
    section = run_sections.repeat(config, environment)
    words = ["kilnet", "train", "/my photos/$x", "--recipe", "config.toml", *named]
    assert shlex.split(section.content["command"]) == words
    assert tomllib.loads(section.content["config"])["data"]["source"] == "/my photos/$x"
    assert section.content["begun_with"] == "kilnet train x"
    assert dict(section.content["environment"]) == {"images to train on": "6,000", "parameters": "12,345"}


def test_layers_add_up_and_filters_are_shown_where_there_are_some():
    classifier = config_net()
    filters, layers = run_sections.network(classifier)
    rows = layer_table(classifier)
    total = sum(parameter.numel() for parameter in classifier.model.parameters())
    assert f"In total: {total:,} parameters" in layers.content["caption"]
    shown = [[cell["text"] for cell in row["cells"]] for row in layers.content["rows"]]
    assert [row[0] for row in shown] == [*(row.name for row in rows[:-1]), "between the layers"]
    assert shown[0][2:4] == ["3 × 15 × 15", "4 × 13 × 13"]  # the stride passes over the last row and column
    weights = classifier.model.conv1.weight.detach().numpy()
    assert f"{len(weights)} filters of 3×3 weights of conv1" in filters.content["hint"]
    assert f"from {np.min(weights):.3g} (dark) to {np.max(weights):.3g} (bright)" in filters.content["hint"]
    assert filters.content["width"] == 4 * 30 + 3 * 5
    assert [section.id for section in run_sections.network(without_convolution())] == ["layers"]
    json.dumps([section.data for section in (filters, layers)])

"""A smaller network learns from the answers of a larger one."""

import numpy as np
import pytest
import torch

import kilnet
from kilnet.errors import ConfigError, DataError
from kilnet.verbs import distill as distilling
from made_up_machine import HARDWARE

TEACHER = HARDWARE | {"data.num_train": 400, "model.widths": [16, 16], "data.image_size": 16}
STUDENT = HARDWARE | {"model.widths": [4, 8]}


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    folder = tmp_path_factory.mktemp("teacher") / "run"
    return kilnet.train(
        "digits", "FastNet", recipe="fast", settings=TEACHER, epochs=3, out=folder, progress=False
    )


@pytest.fixture(scope="module")
def found(teacher):
    return kilnet.distill(teacher, epochs=2, settings=STUDENT | {"data.image_size": 12}, progress=False)


def test_the_student_is_a_run_of_its_own_that_names_its_teacher(teacher, found):
    run = found.run
    assert run.folder == teacher.folder.parent / "run-distilled"
    assert run.config.parent == str(teacher.folder.resolve())
    assert run.config.model.options["widths"] == [4, 8]
    assert (run.config.data.image_size, run.config.data.num_train) == (12, 400)
    assert (run.config.training.teacher_weight, run.config.training.temperature) == (0.75, 2.0)
    assert run.config.training.initial_weights == "random"
    assert (
        kilnet.evaluate(run, progress=False).num_images == kilnet.evaluate(teacher, progress=False).num_images
    )


def test_both_are_told_beside_each_other(teacher, found):
    assert found.teacher.num_correct == teacher.best.num_validation_correct
    assert found.student.num_parameters < found.teacher.num_parameters
    assert found.student.num_bytes == found.run.files.weights_path.stat().st_size
    assert min(found.student.images_per_second, found.teacher.images_per_second) > 0
    assert (
        found.to_dict()["student"]["accuracy"]
        == found.run.best.num_validation_correct / found.run.num_validation
    )


def test_a_student_is_narrow_unless_its_widths_are_set(teacher, tmp_path):
    settings = HARDWARE | {"data.image_size": 12}
    run = kilnet.distill(teacher, epochs=1, settings=settings, out=tmp_path / "run", progress=False).run
    assert run.config.model.options["widths"] == [32, 96, 96]


def test_the_same_call_again_finds_it_finished(teacher, found):
    again = kilnet.distill(teacher, epochs=2, settings=STUDENT | {"data.image_size": 12}, progress=False)
    assert again.run.folder == found.run.folder
    assert again.run.history == found.run.history


def test_answers_are_those_of_the_teacher_in_the_order_of_the_student(teacher):
    shown = teacher.own_data()
    turned = shown.train.take(np.arange(len(shown.train))[::-1])
    answers = distilling._answers(
        teacher, shown, kilnet.ImageDataset("x", shown.classes, turned, turned, None)
    )
    expected = teacher.classifier.logits(shown.train.images)[::-1]
    np.testing.assert_allclose(answers, expected, atol=1e-4)
    fewer = shown.train.take(np.arange(5))
    with pytest.raises(DataError, match="not those of"):
        distilling._answers(teacher, shown, kilnet.ImageDataset("x", shown.classes, fewer, fewer, None))


@pytest.mark.slow
def test_a_student_that_asks_its_teacher_alone_comes_to_agree_with_it(teacher, tmp_path):
    """The labels have no weight: what it knows, it has from the answers."""
    settings = TEACHER | {"training.teacher_weight": 1.0, "training.label_smoothing": 0.0}
    run = kilnet.distill(teacher, epochs=10, settings=settings, out=tmp_path / "run", progress=False).run
    images = teacher.own_data().validation.images
    same = np.mean(run.classifier.logits(images).argmax(1) == teacher.classifier.logits(images).argmax(1))
    assert same > 0.8


def test_without_a_teacher_there_are_no_answers(tmp_path):
    with pytest.raises(ConfigError, match="needs parent"):
        kilnet.train(
            "digits", settings={"training.teacher_weight": 0.5}, progress=False, out=tmp_path / "run"
        )
    with pytest.raises(ConfigError, match=r"kilnet\.distill"):
        settings = {"training.teacher_weight": 0.5, "parent": str(tmp_path), **HARDWARE}
        kilnet.train("digits", settings=settings, progress=False, out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert torch.is_grad_enabled()

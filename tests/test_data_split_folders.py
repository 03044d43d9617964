from pathlib import Path

import pytest

from kilnet.data.split_folders import alike, read_name

TRAIN = (
    "train Training TRAIN_SET TrainingSet training-data train_images train.images trainval train_val Entraînement "
    "Trainingsdaten entrenamiento treino Eğitim обучение 训练集 训练数据 学習 훈련세트"
)
VALIDATION = (
    "val VALID validation Val_Images dev DevSet development valdata Validierung validación валидация 验证集"
)
TEST = (
    "test Test tests testing TEST-DATA testset Testdaten eval evaluation hold-out hold_out HoldOut teste тест"
)
NEITHER = (
    "cat toast tester contest latest pretrained trains value valve invalid devices attestation mytrain train_test "
    "testimonial data images 2017 test_val"
)


@pytest.mark.parametrize(("split", "names"), [("train", TRAIN), ("validation", VALIDATION), ("test", TEST)])
def test_names_of_splits_in_any_case_and_many_languages(split, names):
    for name in names.split():
        found = read_name(name)
        assert found is not None, name
        assert (found.split, found.rest, found.numbers) == (split, (), ()), name


@pytest.mark.parametrize("name", NEITHER.split())
def test_names_of_classes_name_no_split(name):
    assert read_name(name) is None


def test_both_of_unicodes_normal_forms_are_read():
    for name in ("Entraîn\u0065ment", "Entrai\u0302nement", "entrenamiento"):
        assert read_name(name).split == "train"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("seg_train seg_test seg_pred", {"train": ["seg_train"], "test": ["seg_test"]}),
        ("train2017 val2017", {"train": ["train2017"], "validation": ["val2017"]}),
        ("train1 test1", {"train": ["train1"], "test": ["test1"]}),
        ("train train2 train_old test", {"train": ["train"], "test": ["test"]}),
        ("train_1 train_2 test", {"train": ["train_1", "train_2"], "test": ["test"]}),
        ("aug_train aug_test train test", {"train": ["train"], "test": ["test"]}),
        ("a_train a_test test", {"train": ["a_train"], "test": ["a_test"]}),
        ("test_negative test_positive", {}),
        ("cat_train dog_test", {}),
        ("test toast", {"test": ["test"]}),
        ("train dev eval", {"train": ["train"], "validation": ["dev"], "test": ["eval"]}),
        ("train eval test", {"train": ["train"], "validation": ["eval"], "test": ["test"]}),
        ("train val test eval", {"train": ["train"], "validation": ["val"], "test": ["test", "eval"]}),
    ],
)
def test_folders_are_splits_of_one_data_set_where_the_rest_of_their_names_is_the_same(names, expected):
    found = alike([Path("data") / name for name in names.split()])
    assert {split: [folder.name for folder in folders] for split, folders in found.items()} == expected


def test_of_several_data_sets_all_are_returned():
    found = alike([Path(name) for name in ("cat_test", "cat_train", "dog_test", "dog_train")])
    assert {split: len(folders) for split, folders in found.items()} == {"train": 2, "test": 2}

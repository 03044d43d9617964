"""What a page says of the disk and the user of a machine: nothing but last names."""

import pytest

from kilnet.page.without_paths import config_without_paths, environment_without_paths, without_paths
from kilnet.recipes.reading import load_config


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("kilnet train /home/joe/photos --out runs/a", "kilnet train photos --out runs/a"),
        ("kilnet train '/home/joe/my photos/cats' --epochs 3", "kilnet train 'cats' --epochs 3"),
        ("/usr/bin/kilnet train ~/photos", "kilnet train photos"),
        (r"C:\Users\joe\photos: no such folder", "photos: no such folder"),
        ("/home/joe/photos: no such folder, and /tmp/runs/x was", "photos: no such folder, and x was"),
        ("--data=/mnt/big/birds/", "--data=…"),
        ("3/4 of the images, 12 images/s, and/or", "3/4 of the images, 12 images/s, and/or"),
        ("https://example.org/a/b", "https://example.org/a/b"),
    ],
)
def test_paths_lose_all_but_their_last_name(text, expected):
    assert without_paths(text) == expected


def test_settings_and_environment_name_no_folders():
    config = load_config(
        settings={
            "data.source": "/home/joe/photos",
            "data.dir": "/home/joe/cifar",
            "data.root": "/home/joe/pictures",
            "parent": "runs/a",
        }
    )
    cleaned = config_without_paths(config)
    assert (cleaned.data.source, cleaned.data.dir) == ("photos", "cifar")
    assert (cleaned.data.root, cleaned.parent) == ("pictures", "runs/a")
    assert cleaned.model == config.model
    own = load_config(settings={"model.name": "EfficientNetLite", "model.weights": "/home/joe/own.pth"})
    assert config_without_paths(own).model.options["weights"] == "own.pth"
    tuned = config_without_paths(load_config(settings={"parent": "/home/joe/runs/a"}))
    assert tuned.parent == "a"
    assert config_without_paths(load_config()).data.source == load_config().data.source
    environment = {
        "command": "kilnet train /home/joe/x",
        "data": {"warnings": ["/home/joe/x: odd"], "num_train": 3},
    }
    assert environment_without_paths(environment) == {
        "command": "kilnet train x",
        "data": {"warnings": ["x: odd"], "num_train": 3},
    }

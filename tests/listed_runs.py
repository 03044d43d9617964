"""Folders of runs and searches that are made up, quickly and in any number."""

import json

from kilnet.config import RunConfig
from kilnet.recipes.changes import change

ENVIRONMENT = {
    "data": {
        "name": "photos",
        "classes": ["a", "b"],
        "num_train": 100,
        "num_validation": 200,
        "fingerprint": "f",
    },
    "num_parameters": 1234,
}
HEAD = "epoch,lr,train_loss,train_accuracy,validation_loss,validation_accuracy,num_validation_correct,is_best"


def make_run(folder, num_right=180, settings=None, test=None, num_epochs=2, environment=ENVIRONMENT):
    """Write what a run of two epochs leaves; its second epoch is not kept."""
    folder.mkdir(parents=True)
    config = change(RunConfig(), {"training.epochs": 2, **(settings or {})}, "the settings")
    (folder / "config.toml").write_text(config.to_toml())
    (folder / "environment.json").write_text(json.dumps(environment))
    rows = [
        f"{epoch},0.1,0.5,0.5,{0.25 * epoch},{num_right / 200 - 0.05 * (epoch > 1)},{num_right},{epoch == 1}"
        for epoch in range(1, num_epochs + 1)
    ]
    (folder / "history.csv").write_text("\n".join([HEAD, *rows]) + "\n")
    (folder / "timing.csv").write_text("epoch,seconds,images_per_second\n1,10.0,10.0\n2,30.0,20.0\n")
    if test is not None:
        entry = {
            "accuracy": test,
            "macro_recall": test / 2,
            "accuracy_interval": [0.1, 0.9],
            "confusion": [[1]],
        }
        (folder / "evaluation.json").write_text(json.dumps({"test": entry}))
    return folder

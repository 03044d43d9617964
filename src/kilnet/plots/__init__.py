"""Figures of data and runs as functions: each returns a matplotlib figure, which a notebook shows by itself.

    import kilnet.plots
    kilnet.plots.training_images("photos/")
    kilnet.plots.filters("runs/demo")
    kilnet.plots.sample_predictions(run, count=12).savefig("samples.png")

`run` is what `kilnet.train` returned, or its folder. Images come from the run's validation split unless another is
named; a reading of the test split is recorded as `kilnet.evaluate` does. `data` is the run's data where it cannot be
loaded by its name. All functions raise subclasses of `KilnetError`.
"""

from kilnet.plots.course_and_scores import confusion_matrix, learning_curves, per_class
from kilnet.plots.inside_network import attribution, feature_maps, filters
from kilnet.plots.pictures_of_data import augmentation, training_images
from kilnet.plots.predicted_images import confident_mistakes, confused_pairs, label_errors, sample_predictions

__all__ = [
    "attribution",
    "augmentation",
    "confident_mistakes",
    "confused_pairs",
    "confusion_matrix",
    "feature_maps",
    "filters",
    "label_errors",
    "learning_curves",
    "per_class",
    "sample_predictions",
    "training_images",
]

"""Images that all workers map."""

from dataclasses import replace

import numpy as np
import pytest

from kilnet.errors import DataError
from kilnet.tuning.backends.shared_images import is_shared, map_images, share_images
from small_runs import make_dataset


def test_images_are_shared_whole_and_without_the_test(tmp_path):
    dataset = replace(make_dataset(), warnings=("a warning",))
    assert not is_shared(tmp_path)
    share_images(dataset, tmp_path)
    assert is_shared(tmp_path)
    mapped = map_images(tmp_path)
    assert (mapped.name, mapped.classes, mapped.warnings) == (dataset.name, dataset.classes, dataset.warnings)
    assert mapped.fingerprint == dataset.fingerprint
    assert mapped.validation.names == dataset.validation.names
    assert isinstance(mapped.train.images, np.memmap)
    with pytest.raises(DataError, match="sealed"):
        mapped.test  # noqa: B018
    mapped.train.images[:] = 0  # what a worker writes is its own
    assert map_images(tmp_path).fingerprint == dataset.fingerprint


def test_groups_and_weights_are_shared_where_there_are_some(tmp_path):
    dataset = make_dataset()
    num_images = len(dataset.train)
    train = replace(
        dataset.train,
        groups=np.arange(num_images) // 2,
        weights=np.linspace(0, 1, num_images, dtype=np.float32),
    )
    share_images(replace(dataset, train=train), tmp_path)
    mapped = map_images(tmp_path)
    np.testing.assert_array_equal(mapped.train.groups, train.groups)
    np.testing.assert_array_equal(mapped.train.weights, train.weights)
    assert mapped.validation.groups is mapped.validation.weights is None

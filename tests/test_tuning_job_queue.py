"""Which of the jobs that wait is given to a worker first."""

import itertools
from pathlib import Path

import numpy as np

from kilnet.data.dataset import ImageDataset, Split
from kilnet.recipes.reading import load_config
from kilnet.tuning.backends.jobs import TrainingJob
from kilnet.tuning.backends.shared_images import share_images
from kilnet.tuning.job_queue import JobQueue


def images_of(path, num_train):
    def split(num_images):
        return Split(
            np.zeros((num_images, 3, 20, 20), np.uint8), np.arange(num_images) % 2, ("",) * num_images
        )

    share_images(ImageDataset("made", ("a", "b"), split(num_train), split(4), split(4)), path)
    return path


def job(images, **options):
    config = load_config(settings={f"model.{key}": value for key, value in options.items()})
    return TrainingJob(
        name=f"{images.name}, {options}", config=config, folder=Path("nowhere"), images=images, until=3
    )


def popped(queue):
    return [queue.pop() for _ in range(len(queue))]


def multiply_adds(c1, c2, l1):
    """ConfigNet's at 20x20 by hand: unpadded 3x3 convolutions over 19x19, the last with stride 2, two linear layers."""
    convolutions = 9 * (3 * c1 * 17**2 + c1 * c1 * 15**2 + c1 * c2 * 13**2 + c2 * c2 * 6**2)
    return convolutions + 36 * c2 * l1 + l1 * 2


def test_the_network_with_the_most_arithmetic_begins_first(tmp_path):
    images = images_of(tmp_path / "few", 10)
    sizes = list(itertools.product((4, 8, 12), (4, 16), (8, 4000)))
    jobs = [job(images, c1=c1, c2=c2, l1=l1) for c1, c2, l1 in sizes]
    by_hand = sorted(sizes, key=lambda size: -multiply_adds(*size))
    assert by_hand != sorted(
        sizes, reverse=True
    )  # the narrow one with a wide linear layer comes before others
    found = [
        (n.config.model.options["c1"], n.config.model.options["c2"], n.config.model.options["l1"])
        for n in popped(JobQueue(jobs))
    ]
    assert found == by_hand


def test_more_images_are_more_work_and_equals_keep_their_order(tmp_path):
    few, many = images_of(tmp_path / "few", 10), images_of(tmp_path / "many", 30)
    jobs = [job(few, c1=8), job(many, c1=8), job(few, c1=8, d1=0.1)]
    assert popped(JobQueue(jobs)) == [jobs[1], jobs[0], jobs[2]]


def test_a_network_that_cannot_be_built_is_left_to_a_worker(tmp_path):
    images = images_of(tmp_path / "few", 10)
    jobs = [job(images, c1=4, kernel_size=15), job(images, c1=4)]
    assert popped(JobQueue(jobs)) == [jobs[1], jobs[0]]


def test_a_job_that_waits_again_has_its_old_place_and_one_that_runs_is_left(tmp_path):
    images = images_of(tmp_path / "few", 10)
    jobs = [job(images, c1=8, d1=dropout) for dropout in (0.1, 0.2, 0.3)]
    queue = JobQueue(jobs)
    assert queue.pop() == jobs[0]
    queue.add(jobs[0])
    assert queue.pop({jobs[0].name, jobs[1].name}) == jobs[2]
    assert queue.pop({jobs[0].name, jobs[1].name}) is None
    assert popped(queue) == jobs[:2]
    assert queue.pop() is None

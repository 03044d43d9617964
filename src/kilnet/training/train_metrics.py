"""Loss and accuracy of training since the last record."""

import torch
from torch import Tensor


class TrainMetrics:
    """Sums over images; results of steps stay on the device until `read`, which makes a GPU wait for the CPU.

    Attributes:
        loss_sum: over the images whose results were read.
        num_unread: steps whose results were not.
    """

    def __init__(self) -> None:
        self.loss_sum = 0.0
        self._num_correct = 0
        self._num_images = 0  # of those read
        self._unread: list[tuple[Tensor, Tensor, int]] = []

    @property
    def num_unread(self) -> int:
        """Steps whose results are still on the device."""
        return len(self._unread)

    @property
    def num_images(self) -> int:
        """Images since the last record."""
        return self._num_images + sum(num_images for _, _, num_images in self._unread)

    def add(self, loss: Tensor, num_correct: Tensor, num_images: int) -> None:
        """Add a step: its mean loss and number of correct answers, both () on the device."""
        self._unread.append((loss, num_correct, num_images))

    def read(self) -> None:
        """Add what the device has to the sums, step by step, so that the order of additions is fixed."""
        if self._unread:
            losses, nums_correct, nums_images = zip(*self._unread, strict=True)
            self._unread.clear()
            read = torch.stack(losses).tolist(), torch.stack(nums_correct).tolist(), nums_images
            for loss, num_correct, num_images in zip(*read, strict=True):
                self.loss_sum += loss * num_images
                self._num_correct += num_correct
                self._num_images += num_images

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy of the images that were read, and begin again."""
        means = self.loss_sum / self._num_images, self._num_correct / self._num_images
        self.loss_sum, self._num_correct, self._num_images = 0.0, 0, 0
        return means

    def state(self) -> dict[str, float]:
        """Return the sums of what was read."""
        return {
            "loss_sum": self.loss_sum,
            "num_correct": self._num_correct,
            "num_images": self._num_images,
        }

    def load_state(self, state: dict[str, float]) -> None:
        """Resume from what `state` returned."""
        self.loss_sum = state["loss_sum"]
        self._num_correct, self._num_images = int(state["num_correct"]), int(state["num_images"])

"""Loss and accuracy of training since the last record."""

import torch
from torch import Tensor


class TrainMetrics:
    """Sums over images.

    Attributes:
        unread: mean loss and number of correct answers, both () on the device, and number of images of steps whose
            results were not read yet: to read each would make a GPU wait for the CPU.
        loss_sum: over the images whose results were read.
    """

    def __init__(self) -> None:
        self.unread: list[tuple[Tensor, Tensor, int]] = []
        self.loss_sum = 0.0
        self._num_correct = 0
        self._num_images = 0

    @property
    def num_images(self) -> int:
        """Images since the last record."""
        return self._num_images + sum(num_images for _, _, num_images in self.unread)

    def read(self) -> None:
        """Add what the device has to the sums, step by step, so that the order of additions is fixed."""
        if self.unread:
            losses, nums_correct, nums_images = zip(*self.unread, strict=True)
            self.unread.clear()
            read = torch.stack(losses).tolist(), torch.stack(nums_correct).tolist(), nums_images
            for loss, num_correct, num_images in zip(*read, strict=True):
                self.loss_sum += loss * num_images
                self._num_correct += num_correct
                self._num_images += num_images

    def means(self) -> tuple[float, float]:
        """Return mean loss and accuracy of the images that were read, and begin again."""
        means = self.loss_sum / self._num_images, self._num_correct / self._num_images
        self.load_state({"loss_sum": 0.0, "num_correct": 0, "num_images": 0})
        return means

    def state(self) -> dict[str, float]:
        """Return the sums of what was read."""
        return {"loss_sum": self.loss_sum, "num_correct": self._num_correct, "num_images": self._num_images}

    def load_state(self, state: dict[str, float]) -> None:
        """Resume from what `state` returned."""
        self.loss_sum = state["loss_sum"]
        self._num_correct, self._num_images = int(state["num_correct"]), int(state["num_images"])

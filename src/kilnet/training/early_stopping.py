"""When to stop."""

import math


class EarlyStopping:
    """Watches a loss that should fall.

    It saves nothing and knows no model: the caller keeps the weights whenever `step` returns True.

    Args:
        patience: stop after so many losses in a row that are not better; None never stops.
        min_delta: a loss is better when it is lower than the best by more than this.

    Attributes:
        best_loss: the lowest loss that counted as better; infinite before the first.
        num_bad: losses since then.
    """

    def __init__(self, patience: int | None = 5, min_delta: float = 0.0) -> None:
        self.patience = patience
        self.min_delta = min_delta
        self.best_loss = math.inf
        self.num_bad = 0

    def step(self, loss: float) -> bool:
        """Take the next loss; return whether it is better than all before."""
        if loss < self.best_loss - self.min_delta:
            self.best_loss = loss
            self.num_bad = 0
            return True
        self.num_bad += 1
        return False

    @property
    def should_stop(self) -> bool:
        """Whether patience is spent."""
        return self.patience is not None and self.num_bad >= self.patience

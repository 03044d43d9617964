"""What was planned for a budget, in words."""

from datetime import datetime, timedelta

from kilnet.config import RunConfig, written_duration
from kilnet.data.dataset import ImageDataset
from kilnet.training.plan import Plan
from kilnet.training.resolution import size_at


def plan_line(plan: Plan, config: RunConfig, dataset: ImageDataset, seconds_left: float) -> str:
    """Describe a plan in one line, with the time of day at which training ends.

    Args:
        plan: of a run with a budget.
        config: of that run, nothing left to plan.
        dataset: what it trains on.
        seconds_left: of the budget.
    """
    height, width = dataset.image_shape[1:]
    budget = config.budget.seconds or 0.0
    steps = []
    for until, factor in config.training.low_resolution:
        small = size_at([(1.0, factor)], 0.0, height, width)
        steps.append(f"{small[1]}x{small[0]} until {until:.0%}, ")
    end = datetime.now().astimezone() + timedelta(seconds=seconds_left - plan.end_seconds)
    goal = "training ends" if config.optimizer.schedule == "constant" else "learning rate 0"
    batch_size = config.training.batch_size_for(len(dataset.train))
    return (
        f"{written_duration(seconds_left)} of {written_duration(budget)} left: about {plan.num_passes:.1f} passes in "
        f"all over {len(dataset.train):,} images, {plan.images_per_second:,.0f} images/s in batches of {batch_size}; "
        f"{''.join(steps)}{'then ' if steps else ''}{width}x{height}; {goal} at {end:%H:%M:%S}"
    )

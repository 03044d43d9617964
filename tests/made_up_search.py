"""A search's summary, made up."""

from pathlib import Path

from kilnet.metrics.intervals import wilson_interval
from kilnet.recipes.reading import load_config
from kilnet.tuning.finalists import Estimate, Final
from kilnet.tuning.search_config import SearchConfig
from kilnet.tuning.summary import Summary, TrialRow


def make_row(number, values, accuracy, num_validation=200):
    failed = accuracy is None
    interval = None if failed else wilson_interval(round(accuracy * num_validation), num_validation)
    status, reason = ("failed", "the training loss became nan") if failed else ("finished", None)
    loss = None if failed else 1.2
    return TrialRow(
        number=number,
        values=values,
        status=status,
        accuracy=accuracy,
        accuracy_interval=interval,
        loss=loss,
        num_epochs=0 if failed else 4,
        seconds=12.5,
        reason=reason,
    )


def make_summary(rows, tied, importance, folder=Path("searches/made-up")):
    """Return a summary of these trials; the most accurate wins, and `tied` (numbers) cannot be told from it."""
    keys = dict.fromkeys(key for row in rows for key in row.values)
    config = SearchConfig(
        strategy="random",
        halving=True,
        num_trials=len(rows),
        cohort=len(rows),
        num_finalists=3,
        num_seeds=3,
        space={key: ["made", "up"] for key in keys},
        run=load_config(),
    )
    ranked = sorted(rows, key=lambda row: -(row.accuracy or 0))
    winner = None if ranked[0].accuracy is None else ranked[0].number
    finals = []
    for row in ranked:
        if row.accuracy is not None and row.number in {winner, *tied}:
            accuracy = Estimate(row.accuracy, row.accuracy - 0.02, row.accuracy + 0.02, 3)
            behind = None if row.number == winner else Estimate(0.01, -0.005, 0.025, 3)
            finals.append(Final(row.number, accuracy, behind))
    summary = Summary(
        folder=folder,
        config=config,
        trials=tuple(ranked),
        finals=tuple(finals),
        is_complete=True,
        winner=winner,
        winner_folder=None,
        num_image_passes=1000,
        num_finalist_image_passes=0,
        seconds=50.0,
        _trials=(),
    )
    summary.__dict__["importance"] = importance  # where it is kept once it is worked out
    return summary

"""Searching for the best configuration: honest, resumable, and cheaper than training every one to its end."""

import warnings

with warnings.catch_warnings():
    # Optuna imports tqdm, which in a notebook without ipywidgets warns of bars that nobody asked for.
    warnings.filterwarnings("ignore", message="IProgress not found")
    import optuna  # noqa: F401

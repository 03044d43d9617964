"""The search in an Optuna storage, for optuna-dashboard and Optuna's own analyses."""

from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.storages import BaseStorage, get_storage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from kilnet.errors import StorageError
from kilnet.tuning.space import Space
from kilnet.tuning.strategy import as_optuna
from kilnet.tuning.trial import Trial

STUDY_FILE = "study.sqlite3"
_OWNER = "kilnet_folder"


class Mirror:
    """Writes trials into an Optuna study; the search's own process alone does, and nothing is read back.

    The run folders hold the truth, so that a storage which is lost or does not answer costs nothing: the next
    `update` brings it up to date.

    Args:
        url: of any Optuna storage, such as sqlite:///study.sqlite3.
        folder: of the search; the study, made if it is not there, has its name.
        space: the search's.

    Raises:
        StorageError: the storage does not answer, its drivers are not installed, or the study is another search's.
    """

    def __init__(self, url: str, folder: Path, space: Space) -> None:
        self._url = url
        self._space = space
        try:
            self._storage: BaseStorage = get_storage(url)
            study = optuna.create_study(
                study_name=folder.resolve().name,
                storage=self._storage,
                direction=StudyDirection.MAXIMIZE,
                load_if_exists=True,
            )
            self._study_id = self._storage.get_study_id_from_name(study.study_name)
            owner = study.user_attrs.get(_OWNER)
            if owner is None:
                study.set_user_attr(_OWNER, str(folder.resolve()))
        except Exception as error:  # whatever driver is behind the URL
            raise StorageError(f"{self._shown}: {_first_line(error)}; check --storage") from None
        if owner not in (None, str(folder.resolve())) and url != sqlite_url(folder / STUDY_FILE):
            raise StorageError(
                f"{self._shown}: its study {study.study_name} is of {owner}; name another folder with --out"
            )

    def update(self, trials: Sequence[Trial], stopped: set[int]) -> None:
        """Bring the study up to date.

        Args:
            trials: all trials, in order.
            stopped: numbers of those that were sorted out.

        Raises:
            StorageError: the storage does not answer.
        """
        try:
            kept = self._storage.get_all_trials(self._study_id, deepcopy=False)
            for trial in trials:
                state = _state(trial, stopped)
                if trial.number >= len(kept):
                    # Trials are told bit by bit; Optuna takes no more news of one that has ended.
                    opened = as_optuna(trial, self._space, TrialState.RUNNING)
                    self._storage.create_new_trial(self._study_id, opened)
                    kept = self._storage.get_all_trials(self._study_id, deepcopy=False)
                self._tell(kept[trial.number], trial, state)
        except Exception as error:
            raise StorageError(f"{self._shown}: {_first_line(error)}") from None

    def _tell(self, kept: FrozenTrial, trial: Trial, state: TrialState) -> None:
        if kept.state.is_finished():
            return
        wanted = as_optuna(trial, self._space, state)
        for epoch, value in wanted.intermediate_values.items():
            if epoch not in kept.intermediate_values:
                self._storage.set_trial_intermediate_value(kept._trial_id, epoch, value)
        if state.is_finished():
            self._storage.set_trial_state_values(kept._trial_id, state, wanted.values)

    @property
    def _shown(self) -> str:
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"  # without a password


def sqlite_url(path: Path) -> str:
    """Return the storage URL of an SQLite file."""
    return f"sqlite:///{path.resolve()}"


def _state(trial: Trial, stopped: set[int]) -> TrialState:
    if trial.failed:
        return TrialState.FAIL
    if trial.finished:
        return TrialState.COMPLETE
    return TrialState.PRUNED if trial.number in stopped else TrialState.RUNNING


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

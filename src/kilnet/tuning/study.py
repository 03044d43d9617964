"""A copy of the search in an Optuna storage, for optuna-dashboard and Optuna's own analyses."""

from collections.abc import Collection, Sequence
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from optuna.storages import BaseStorage, RDBStorage, get_storage
from optuna.trial import FrozenTrial, TrialState

from kilnet.errors import MissingPackageError, StorageError
from kilnet.storage import remove
from kilnet.tuning.search_folder import SearchFolder
from kilnet.tuning.space import Space
from kilnet.tuning.strategy import as_optuna, create_study
from kilnet.tuning.trial import Trial

_OWNER = "kilnet_folder"
_POSTGRESQL = "postgresql"
_SECONDS_TO_CONNECT = 10  # libpq's own are two minutes, in which the search would stand still
_STATES = {
    "failed": TrialState.FAIL,
    "finished": TrialState.COMPLETE,
    "stopped": TrialState.PRUNED,
    "waiting": TrialState.RUNNING,
}


class StudyCopy:
    """Writes trials into an Optuna study; only the search's own process does, and nothing is read back.

    The run folders hold the truth, so that a storage which is lost or does not answer costs nothing: the next
    `update` brings it up to date.

    Args:
        folder: of the search; the study, made if it is not there, has its name.
        space: the search's.
        url: of any Optuna storage; by default study.sqlite3 in the folder, which is written again if it is damaged.
    """

    def __init__(self, folder: Path, space: Space, url: str | None = None) -> None:
        self._folder = folder.resolve()
        self._space = space
        self._is_own_file = url is None
        self._url = url or sqlite_url(SearchFolder(self._folder).study_path)
        self._storage: BaseStorage | None = None
        self._study_id = 0
        self._ids: list[int] | None = None  # of the trials there, in order; None where that is not known

    def connect(self) -> None:
        """Open the study, as `update` does where it is not open.

        Raises:
            StorageError: the storage does not answer, or the study is another search's.
            MissingPackageError: its driver is not installed.
        """
        try:
            owner = self._open()
        except ImportError as error:
            is_ours = self._url.startswith(_POSTGRESQL)
            advice = "pip install 'kilnet[postgresql]'" if is_ours else _first_line(error.__cause__ or error)
            raise MissingPackageError(f"{self._shown}: its driver is not installed: {advice}") from None
        except Exception as error:  # whatever driver is behind the URL
            advice = "" if self._is_own_file else "; check `storage`"
            raise StorageError(f"{self._shown}: {_first_line(error)}{advice}") from None
        if owner != str(self._folder) and not self._is_own_file:
            self._storage = None
            raise StorageError(
                f"{self._shown}: its study {self._folder.name} belongs to {owner}; choose another `out`"
            )

    def update(self, trials: Sequence[Trial], changed: Collection[int], stopped: Collection[int]) -> None:
        """Bring the study up to date; a damaged file of the search is written again.

        Args:
            trials: all trials, in order.
            changed: numbers of those that may have changed since the last call that succeeded.
            stopped: numbers of those that a rung has stopped.

        Raises:
            StorageError: the storage does not answer.
        """
        try:
            self._copy(trials, changed, stopped)
        except StorageError:
            if not self._is_own_file:
                raise
            self._storage = None
            with suppress(StorageError):  # then it says why it cannot be opened
                self._remove_own_file()
            self._copy(trials, changed, stopped)

    def _copy(self, trials: Sequence[Trial], changed: Collection[int], stopped: Collection[int]) -> None:
        if self._storage is None:
            self.connect()
        storage = cast("BaseStorage", self._storage)
        try:
            if self._ids is None:
                self._ids = [
                    trial._trial_id for trial in storage.get_all_trials(self._study_id, deepcopy=False)
                ]
                changed = range(len(trials))
            for trial in trials[len(self._ids) :]:
                # Step by step: Optuna does not change a trial that has ended.
                opened = as_optuna(trial, self._space, TrialState.RUNNING)
                self._ids.append(storage.create_new_trial(self._study_id, opened))
            for trial in map(trials.__getitem__, sorted(changed)):
                wanted = as_optuna(trial, self._space, _STATES[trial.status(stopped)])
                self._bring_up_to_date(storage, storage.get_trial(self._ids[trial.number]), wanted)
        except Exception as error:
            self._ids = None  # nobody knows what of it has arrived
            raise StorageError(f"{self._shown}: {_first_line(error)}") from None

    def _open(self) -> str:
        """Open the study, and return the folder that it belongs to; a damaged file of the search is written again."""
        try:
            return self._open_storage()
        except Exception:
            if not self._is_own_file:
                raise
        self._remove_own_file()
        return self._open_storage()

    def _remove_own_file(self) -> None:
        path = SearchFolder(self._folder).study_path
        for file in self._folder.glob(f"{path.name}*"):  # also the journal, which must not outlive it
            remove(file)

    def _open_storage(self) -> str:
        # Connections that a database has cut while it was restarted are noticed and made again.
        options: dict[str, Any] = {"pool_pre_ping": True}
        if self._url.startswith(_POSTGRESQL):
            options["connect_args"] = {"connect_timeout": _SECONDS_TO_CONNECT}
        storage = get_storage(RDBStorage(_with_driver(self._url), engine_kwargs=options))
        study = create_study(self._folder.name, storage)
        if _OWNER not in study.user_attrs:
            study.set_user_attr(_OWNER, str(self._folder))
        study_id = storage.get_study_id_from_name(study.study_name)
        storage.get_all_trials(study_id)  # it can be read to its end
        self._storage, self._study_id, self._ids = storage, study_id, None
        return str(study.user_attrs[_OWNER])

    @staticmethod
    def _bring_up_to_date(storage: BaseStorage, kept: FrozenTrial, wanted: FrozenTrial) -> None:
        if kept.state.is_finished():
            return
        for epoch, value in wanted.intermediate_values.items():
            if epoch not in kept.intermediate_values:
                storage.set_trial_intermediate_value(kept._trial_id, epoch, value)
        if wanted.state.is_finished():
            storage.set_trial_state_values(kept._trial_id, wanted.state, wanted.values)

    @property
    def _shown(self) -> str:
        scheme, _, rest = self._url.partition("://")
        return f"{scheme}://{rest.rpartition('@')[2]}"  # without a password


def sqlite_url(path: Path) -> str:
    """Return the storage URL of an SQLite file."""
    return f"sqlite:///{path.resolve()}"


def _with_driver(url: str) -> str:
    """Return the URL with the driver of Kilnet's extra, unless another is named; SQLAlchemy 2.0 takes an older."""
    scheme, separator, rest = url.partition("://")
    known = scheme == _POSTGRESQL and find_spec("psycopg") is not None
    return f"{scheme}+psycopg{separator}{rest}" if known else url


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

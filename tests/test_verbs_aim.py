"""An aim becomes settings."""

import pytest

from kilnet.errors import ConfigError
from kilnet.verbs.aim import with_aim


def test_an_aim_sets_what_suits_it_and_the_user_s_own_settings_win():
    assert with_aim({"training.epochs": 3}, None) == {"training.epochs": 3}
    assert with_aim(None, "macro-recall") == {
        "training.balance": "sampling",
        "training.select": "macro-recall",
    }
    assert with_aim({"balance": "weights"}, "macro-recall")["training.balance"] == "weights"
    assert with_aim(None, "accuracy") == {"training.select": "accuracy"}


def test_an_unknown_aim_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match="`optimise='macro-recal'`: there are accuracy, macro-recall"):
        with_aim(None, "macro-recal")

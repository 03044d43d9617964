"""Versions that differ are told in one line."""

import importlib.metadata
import pickle
import sys

import pytest

from kilnet.tuning.backends.cluster_versions import PACKAGES, asker, difference, why_not_joined

HERE = {"Python": "3.11", "kilnet": "0.1.0", "torch": "2.13.0"}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({}, ""),
        ({"torch": "2.12.1"}, "it has torch 2.12.1, not 2.13.0; install the same versions there"),
        (
            {"Python": "3.12", "kilnet": "nowhere"},
            "it has Python 3.12, not 3.11 and no kilnet, but 0.1.0 is needed; install the same versions there",
        ),
    ],
)
def test_what_differs_is_named_with_both_versions(there, told):
    assert difference(HERE | there, HERE) == told


def test_a_machine_tells_the_versions_that_are_installed_there(tmp_path, monkeypatch):
    found = asker()(("torch", "no-such-package"))
    assert found["torch"] == importlib.metadata.version("torch").partition("+")[0]
    assert found["Python"] == f"{sys.version_info.major}.{sys.version_info.minor}"
    assert found["no-such-package"] == "nowhere"
    (tmp_path / "torch-9.9.dist-info").mkdir()
    (tmp_path / "torch-9.9.dist-info" / "METADATA").write_text("Name: torch\nVersion: 9.9+cu130\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert difference(asker()(PACKAGES), asker()(PACKAGES) | {"torch": "2.13.0"}).startswith(
        "it has torch 9.9, not"
    )


def test_the_question_needs_no_kilnet_where_it_is_answered():
    # Ray sends a function of a module by name, and one that was made within another as it is.
    with pytest.raises((AttributeError, pickle.PicklingError)):
        pickle.dumps(asker())


def test_rays_own_refusal_is_one_line():
    message = (
        "Version mismatch: The cluster was started with:\n    Ray: 2.50.0\n    Python: 3.12.3\n"
        "This process on node 10.0.0.7 was started with:\n    Ray: 2.60.0\n    Python: 3.12.3\n"
    )
    assert why_not_joined(message) == "it has Ray 2.50.0, not 2.60.0; install the same versions there"
    message = "Failed to connect to Ray cluster at 10.0.0.1:6379"
    assert why_not_joined(message) == message
    message += (
        "\nFailed to connect to GCS. Last connection error: Traceback (most recent call last):\n  File ...\n"
    )
    message += (
        "ray.exceptions.AuthenticationError: RPC error: InvalidAuthToken: Authentication token is missing"
    )
    assert why_not_joined(message).startswith("it asks for Ray's token: set RAY_AUTH_MODE=token")
    assert why_not_joined("\nno room\nfor more\n") == "no room"
    assert why_not_joined("") == "no reason was given"

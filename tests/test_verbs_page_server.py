"""What the verbs that serve a page have in common."""

import inspect

import pytest

import kilnet
from kilnet.errors import MissingPackageError
from kilnet.verbs.page_server import server_packages, warn_of_exposure


def test_a_missing_package_is_named_with_what_needs_it_and_how_to_get_it():
    message = r"^drawing needs no_such_package, which is not installed: pip install 'kilnet\[serve\]'$"
    with pytest.raises(MissingPackageError, match=message), server_packages("drawing"):
        import no_such_package  # noqa: F401
    with server_packages("drawing"):
        import json  # noqa: F401


def test_an_address_that_others_can_reach_is_warned_of(capsys):
    pytest.importorskip("starlette", reason="the extra `serve` is not installed")
    for host in ("127.0.0.1", "localhost", "::1"):
        warn_of_exposure(host, "delete runs", progress=True)
    warn_of_exposure("0.0.0.0", "delete runs", progress=False)  # noqa: S104
    assert capsys.readouterr() == ("", "")
    warn_of_exposure("0.0.0.0", "delete runs", progress=True)  # noqa: S104
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "listening at 0.0.0.0: anyone who can reach this machine there can delete runs, without"
    )


def test_each_page_has_a_port_of_its_own():
    pages = (kilnet.serve, kilnet.board, kilnet.review)
    assert len({inspect.signature(page).parameters["port"].default for page in pages}) == len(pages)

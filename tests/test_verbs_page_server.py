"""What the verbs that serve a page have in common."""

import pytest

from kilnet.errors import MissingPackageError
from kilnet.verbs.page_server import server_packages


def test_a_missing_package_is_named_with_what_needs_it_and_how_to_get_it():
    message = r"^drawing needs no_such_package, which is not installed: pip install 'kilnet\[serve\]'$"
    with pytest.raises(MissingPackageError, match=message), server_packages("drawing"):
        import no_such_package  # noqa: F401
    with server_packages("drawing"):
        import json  # noqa: F401

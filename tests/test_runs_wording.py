"""Names as they are shown."""

import pytest

from kilnet.runs.wording import one_line, shorten


def test_names_are_shown_on_one_line():
    assert one_line(" two\r\n\tlines ") == "two lines"
    assert one_line("\x1b[31m\u202ex\udcff") == "\ufffd[31m\ufffdx\ufffd"
    assert one_line("قطة 👩‍🚀") == "قطة 👩‍🚀"


@pytest.mark.parametrize("length", [1, 9, 10, 11, 200])
def test_long_names_keep_both_ends(length):
    name = "".join(chr(ord("a") + i % 26) for i in range(length))
    short = shorten(name, 10)
    assert len(short) <= 10
    assert (short == name) == (length <= 10)
    assert (short[0], short[-1]) == (name[0], name[-1])

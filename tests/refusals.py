"""What a user is told where a configuration is refused."""

import pytest

from kilnet.errors import ConfigError


def refusal(function, *arguments, **named):
    with pytest.raises(ConfigError) as caught:
        function(*arguments, **named)
    text = str(caught.value)
    assert text
    assert text.splitlines() == [text]
    return text

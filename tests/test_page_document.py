"""The page around its sections."""

import json
import re

import pytest

from kilnet.page.document import Section, render


def test_text_stays_text_and_data_cannot_leave_its_script():
    evil = "</script><script>alert(1)</script>&\"'\u2028<!--"
    section = Section("x", evil, "images", {"hint": evil, "images": []}, {"names": [evil]})
    page = render(evil, evil, [section])
    assert page.count("<script") == 2, "the section's data and the page's own code"
    assert json.loads(re.search(r'id="data-x">(.*?)</script>', page)[1]) == {"names": [evil]}
    assert "<!--" not in page
    with pytest.raises(ValueError, match="JSON"):
        render("t", "s", [Section("x", "t", "images", {"hint": "", "images": []}, {"bad": float("nan")})])

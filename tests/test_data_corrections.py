"""Reading tables of corrections: what they say, and what is wrong with them in one line."""

import hashlib

import pytest

from corrections_tables import write
from kilnet.data.corrections import AppliedCorrections, read_corrections
from kilnet.errors import DataError


def test_every_verdict_is_read_with_its_line(tmp_path):
    rows = [("a.png", "cat", "wrong", "dog"), ("b.png", "cat", "remove", ""), ("c.png", "dog", "Right", ""),
            ("d.png", "dog", "unsure", ""), ("e.png", "dog", "", "cat")]  # fmt: skip
    path = write(tmp_path / "c.csv", *rows)
    table = read_corrections(path)
    found = [(row.line, row.name, row.label, row.verdict, row.correction) for row in table.rows.values()]
    assert found == [(2, "a.png", "cat", "wrong", "dog"), (3, "b.png", "cat", "remove", None),
                     (4, "c.png", "dog", "right", None), (5, "d.png", "dog", "unsure", None),
                     (6, "e.png", "dog", "wrong", "cat")]  # fmt: skip
    assert table.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_a_spreadsheet_makes_of_it_is_read(tmp_path):
    path = tmp_path / "c.csv"
    text = "file;label;verdict;correction;note\r\n\r\n'=a.png;'=cat;wrong;Ca\u0308t;\"two\r\nlines\"\r\nb;x;right;;\r\n"
    path.write_bytes(text.encode("utf-8-sig"))
    rows = read_corrections(path).rows
    assert [(row.line, row.name, row.label, row.correction) for row in rows.values()] == [
        (3, "=a.png", "=cat", "C\u00e4t"),
        (5, "b", "x", None),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "it needs one column file"),
        ("file,label,correction\n", "it needs one column verdict"),
        ("file,label,verdict,correction\na,b,wrong\n", "line 2: 3 cells, where the header has 4"),
        (
            "file,label,verdict,correction\na,b,wrong,\n",
            "line 2 (a): it is wrong, but the correction is empty",
        ),
        ("file,label,verdict,correction\na,b,rihgt,\n", "line 2 (a): verdict 'rihgt'; did you mean right?"),
        ("file,label,verdict,correction\na,b,,\n", "line 2 (a): no verdict; there are right, wrong"),
        (
            "file,label,verdict,correction\na,b,right,c\n",
            "line 2 (a): the verdict is right, but there is a corr",
        ),
        ("file,label,verdict,correction\n,b,right,\n", "line 2 (no file): no file"),
        ("file,label,verdict,correction\na,,right,\n", "line 2 (a): no label"),
        ("file,label,verdict,correction\na,b,right,\na,b,right,\n", "line 3 (a): line 2 has this image too"),
        ('file,label,verdict,correction\na,b,"right,\n', "is not CSV"),
    ],
)
def test_what_cannot_be_understood_is_one_line(tmp_path, text, message):
    path = tmp_path / "c.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(DataError) as caught:
        read_corrections(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_one_that_is_no_text_are_one_line(tmp_path):
    with pytest.raises(DataError, match=r"no such file; `data.corrections` names a table with"):
        read_corrections(tmp_path / "none.csv")
    (tmp_path / "c.csv").write_bytes(b"\x80\x81")
    with pytest.raises(DataError, match="cannot be read"):
        read_corrections(tmp_path / "c.csv")


def test_what_was_done_is_one_line():
    def told(changed, removed):
        applied = AppliedCorrections(
            path="a/c.csv", sha256="", content="", changed=changed, removed=removed, digest=""
        )
        return applied.told

    assert told({"train": 1}, {"train": 0}) == "1 label is changed and 0 images are removed by c.csv"
    line = told({"train": 1000, "test": 2}, {"validation": 1})
    assert line.startswith("1,002 labels are changed and 1 image is removed by c.csv, 2 of them test images")

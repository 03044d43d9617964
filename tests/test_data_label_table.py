"""Tables of labels: which columns are what, and each row that cannot be used, by its line."""

import io
import sys

import pytest

from kilnet.data.label_table import has_columns, parse_columns, read_label_table
from kilnet.errors import DataError, MissingPackageError


def read(text, columns=None, where="labels.csv", locate=str):
    content = text if isinstance(text, bytes) else text.encode()
    return read_label_table(where, content, columns or {}, locate)


def refusal(*arguments, **named):
    with pytest.raises(DataError) as caught:
        read(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_columns_are_found_by_their_names():
    table = read("Image Path,Class,Subset,Patient ID,sample_weight,age\na.png,cat,val,7,0.5,3\n")
    assert table.columns == {
        "path": "Image Path",
        "label": "Class",
        "split": "Subset",
        "group": "Patient ID",
        "weight": "sample_weight",
    }
    (row,) = table.rows
    assert (row.path, row.label, row.split, row.group, row.weight) == ("a.png", "cat", "validation", "7", 0.5)
    assert table.problems == ()


def test_columns_can_be_named():
    columns = parse_columns("label=diagnosis, group=zip code")
    table = read("file,diagnosis,label,zip code\na.png,ill,cat,12\n", columns)
    assert (table.rows[0].label, table.rows[0].group) == ("ill", "12")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("label", "write it as label=diagnosis,group=patient"),
        ("label=", "write it as"),
        ("lable=diagnosis", "no 'lable' in it; did you mean label?"),
    ],
)
def test_columns_that_are_written_otherwise_are_refused(text, told):
    with pytest.raises(DataError, match=f"data.columns='{text}'") as caught:
        parse_columns(text)
    assert told in str(caught.value)


def test_unknown_and_ambiguous_columns_are_refused():
    table = "file,health,hive\na.png,good,7\n"
    assert "no column called heath; did you mean health?" in refusal(table, {"label": "heath"})
    assert "which column has the labels? there are file, health, hive" in refusal(table)
    assert "`data.columns='path=...'`" in refusal("x,label\na.png,cat\n")
    assert "two columns called y" in refusal("file,y,y\na.png,1,2\n", {"label": "y"})


def test_rows_that_cannot_be_used_are_named_with_their_lines():
    text = (
        "path,label,split,weight\n"
        "a.png,cat,train,1\n"  # 2
        "\n"
        "b.png,,train,1\n"  # 4
        "c.png,cat,somewhere,1\n"  # 5
        "d.png,cat,train,heavy\n"  # 6
        "e.png,cat,train,-1\n"  # 7
        "f.png,cat,train\n"  # 8
        "a.png,cat,train,1\n"  # 9
        "a.png,dog,train,1\n"  # 10
        ",cat,train,1\n"  # 11
        '"g\n.png",cat,train,1\n'  # 12 and 13
        "h.png,cat,,1\n"  # 14
    )
    table = read(text)
    assert [row.line for row in table.rows] == [2, 12]
    assert [(problem.path, problem.reason) for problem in table.problems] == [
        ("line 4 (b.png)", "no label"),
        ("line 5 (c.png)", "split 'somewhere' is none of train, validation and test"),
        ("line 6 (d.png)", "weight 'heavy' is no number"),
        ("line 7 (e.png)", "weight -1: it must be 0 or more"),
        ("line 8", "3 cells, where the header has 4"),
        ("line 9 (a.png)", "line 2 has this picture too"),
        ("line 10 (a.png)", "line 2 has this picture with another label, cat"),
        ("line 11", "no path"),
        ("line 14 (h.png)", "no split"),
    ]


def test_where_a_path_leads_is_asked_and_told():
    def locate(path):
        if path.startswith(".."):
            raise DataError("leads out")
        return path.removeprefix("./")

    table = read("path,label\n./a.png,cat\na.png,cat\n../b.png,cat\n", locate=locate)
    assert [row.path for row in table.rows] == ["a.png"]
    assert [problem.reason for problem in table.problems] == ["line 2 has this picture too", "leads out"]


@pytest.mark.parametrize("name", ["labels.tsv", "labels.csv"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_tables_of_other_programs_are_read(name, end, encoding):
    delimiter = "\t" if name.endswith("tsv") else ";"
    lines = [
        delimiter.join(cells) for cells in (("path", "label"), ("a,b.png", "Käfer"), ("c.png", "Ameise"))
    ]
    table = read((end.join(lines) + end).encode(encoding), where=name)
    assert [(row.line, row.path, row.label) for row in table.rows] == [
        (2, "a,b.png", "Käfer"),
        (3, "c.png", "Ameise"),
    ]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "empty"),
        (b"path,label\n", "no rows below its header"),
        (b"path,label\n\xff.png,cat\n", "not UTF-8 text"),
        (b'path,label\n"a.png,cat\n', "is not CSV"),
    ],
)
def test_files_that_are_no_tables_are_one_line(content, told):
    assert told in refusal(content)


def test_a_header_tells_whether_there_are_labels():
    assert has_columns("t.csv", b"file,class\n")
    assert not has_columns("t.csv", b"file,health\n")
    assert not has_columns("t.csv", b"")


def test_parquet_without_pyarrow_is_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MissingPackageError, match=r"labels\.parquet: Parquet needs pyarrow; run pip install"
    ) as caught:
        read(b"PAR1", where="labels.parquet")
    assert "\n" not in str(caught.value)


def test_parquet_is_read():
    import pyarrow
    from pyarrow import parquet

    content = io.BytesIO()
    columns = {
        "path": ["a.png", None, "c.png"],
        "label": [3, 4, 5],
        "weight": [1.0, 2.0, 0.25],
        "box": [[1], [2], [3]],
    }
    parquet.write_table(pyarrow.table(columns), content)
    table = read(content.getvalue(), where="labels.parquet")
    assert [(row.line, row.path, row.label, row.weight) for row in table.rows] == [
        (1, "a.png", "3", 1.0),
        (3, "c.png", "5", 0.25),
    ]
    assert [(problem.path, problem.reason) for problem in table.problems] == [("line 2", "no path")]
    assert "no Parquet that can be read" in refusal(b"PAR1", where="labels.parquet")

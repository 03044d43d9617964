"""Parts of a folder that may come from anybody."""

import pytest

from kilnet.errors import RunFolderError
from kilnet.folders import Part, inside


def test_links_lead_nowhere_within_a_folder_and_the_folder_may_be_one(tmp_path):
    (tmp_path / "run" / "state").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "run")
    assert inside(tmp_path / "link", "state/x") == tmp_path / "link" / "state" / "x"
    (tmp_path / "run" / "plots").symlink_to(tmp_path)
    (tmp_path / "run" / "state" / "x").symlink_to("/nowhere")
    for name in ("plots", "plots/a.png", "state/x"):
        with pytest.raises(RunFolderError, match="a link, which Kilnet does not follow"):
            inside(tmp_path / "run", name)


def test_a_part_is_looked_at_when_it_is_asked_for(tmp_path):
    class Folder:
        table = Part("parts/table.csv")

        def __init__(self, path):
            self.path = path

    folder = Folder(tmp_path)
    assert folder.table == tmp_path / "parts" / "table.csv"
    (tmp_path / "parts").symlink_to("/nowhere")
    with pytest.raises(RunFolderError, match="a link, which Kilnet does not follow"):
        _ = folder.table

import pytest

from kilnet.data.litter import is_litter

LITTER = (
    "@eaDir #recycle #snapshot @tmp lost+found $RECYCLE.BIN FOUND.000 __MACOSX __pycache__ LOST.DIR "
    "@Recycle @Recently-Snapshot @__thumb .@__thumb .ipynb_checkpoints .thumbnails .Trash-1000 .Trashes .DS_Store "
    "._cat.png .git Thumbs.db THUMBS.DB ehthumbs.db ehthumbs_vista.db desktop.ini Desktop.ini a.jpg@SynoEAStream "
    "@SynoResource ~$cats.docx"
)


@pytest.mark.parametrize("name", [*LITTER.split(), "System Volume Information", "Icon\r", "Temporary Items"])
def test_what_systems_leave_is_litter(name):
    assert is_litter(name)


PEOPLES = (
    "cat found Recycled found.jpg thumbs trash tmp icon.png db 000 @home #1 recycle.png system cat@2x.png"
)


@pytest.mark.parametrize("name", PEOPLES.split())
def test_what_people_name_is_none(name):
    assert not is_litter(name)

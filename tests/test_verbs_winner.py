"""A search where a run is asked for."""

import shutil

import pytest

import kilnet
from kilnet.errors import RunFolderError
from kilnet.verbs.winner import opened_or_winner


@pytest.fixture
def copy(search, tmp_path):
    return shutil.copytree(search.folder, tmp_path / "search")


def test_the_winner_stands_for_its_search_and_that_is_said(copy, search):
    said = []
    run = opened_or_winner(copy, say=said.append)
    shutil.rmtree(copy / "finetuned", ignore_errors=True)
    plain = opened_or_winner(copy)
    winner = search.summary.winner_folder.relative_to(search.folder)
    assert plain.folder == copy / winner
    assert run.folder in (copy / winner, copy / "finetuned")
    assert said == [f"{copy} is a search; this is about its winner, {run.folder}"]
    assert kilnet.load(copy).classes == tuple("0123456789")


def test_a_search_can_be_evaluated_by_its_folder(copy, command):
    winner = opened_or_winner(copy).folder
    code, out, err = command("evaluate", copy, "--split", "val")
    assert code == 0
    assert f"is a search; this is about its winner, {winner}" in err
    assert f"next: kilnet report {winner}" in out


def test_a_search_that_has_just_begun_has_no_winner(copy):
    for folder in ("trials", "finalists", "finetuned"):
        shutil.rmtree(copy / folder, ignore_errors=True)
    with pytest.raises(RunFolderError, match="has ended an epoch yet"):
        opened_or_winner(copy)

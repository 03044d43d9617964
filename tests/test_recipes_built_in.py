"""Recipes and spaces that come with Kilnet."""

import pytest

from kilnet.config import RunConfig
from kilnet.errors import ConfigError
from kilnet.models import build
from kilnet.recipes.built_in import FAST, TUTORIAL_SPACE, find, list_recipes
from kilnet.recipes.reading import load_config
from kilnet.tuning.space import Space, read_space

ALL = list_recipes()
RECIPES = [recipe.name for recipe in ALL if recipe.kind == "recipe"]
SPACES = [recipe.name for recipe in ALL if recipe.kind == "space"]


def test_there_are_recipes_and_spaces_and_no_name_means_two():
    assert {FAST, "fast-94", "fast-digits", "digits", "tutorial-base", "tutorial-winner"} <= set(RECIPES)
    assert {TUTORIAL_SPACE, "small", "wide"} <= set(SPACES)
    assert len({recipe.name for recipe in ALL}) == len(ALL)


@pytest.mark.parametrize("recipe", ALL, ids=lambda recipe: recipe.name)
def test_each_says_in_one_sentence_what_it_is(recipe):
    assert recipe.text.startswith(f"# {recipe.about}\n")
    assert recipe.about.endswith(".")
    assert len(recipe.about) <= 118


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_can_be_trained(name):
    config = load_config(name)
    assert config != RunConfig()
    build(config.model, (3, 32, 32), 10)


@pytest.mark.parametrize("name", SPACES)
def test_every_space_can_be_searched(name):
    assert Space.parse(read_space([name])).dimensions


def test_an_unknown_name_gets_the_nearest_and_the_list():
    with pytest.raises(ConfigError) as caught:
        find("fats-94")
    told = str(caught.value)
    assert told.startswith(
        "`recipe='fats-94'`: no such file, nor a recipe that comes with Kilnet; did you mean fast"
    )
    assert told.endswith(f"; there are {', '.join(RECIPES)}")
    with pytest.raises(ConfigError) as caught:
        find("xyzzy", "space")
    assert str(caught.value).count("there are small, tutorial, wide") == 1

"""kilnet recipes."""

from dataclasses import asdict
from typing import Annotated

import typer

from kilnet.cli import completion
from kilnet.cli.options import JsonOption
from kilnet.cli.output import print_json, say, say_next


def recipes(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="One to print; default: a list of all.",
            autocompletion=completion.recipes_and_spaces,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the recipes and spaces that come with Kilnet, or print one."""
    from kilnet.errors import InputError, nearest
    from kilnet.recipes.built_in import list_recipes

    found = list_recipes()
    if name is not None:
        chosen = [recipe for recipe in found if recipe.name == name]
        if not chosen:
            raise InputError(f"no recipe or space {name}{nearest(name, [recipe.name for recipe in found])}")
        found = tuple(chosen)
    if as_json:
        listed = [asdict(recipe) for recipe in found]
        print_json({"recipes": listed} if name is None else listed[0])
    elif name is not None:
        for line in found[0].text.splitlines():
            say(line)
    else:
        for recipe in found:
            say(f"{recipe.kind:6}  {recipe.name:15}  {recipe.about}")
        say_next("kilnet", "recipes", found[0].name)

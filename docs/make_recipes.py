"""Writes docs/recipes.md, every recipe and space that comes with Kilnet: `make docs`."""

from pathlib import Path

from kilnet.recipes.built_in import list_recipes

PAGE = Path(__file__).with_name("recipes.md")
_HEAD = """\
# Recipes

*Made by `make docs` from the files that come with Kilnet; changes made here are lost.*

A recipe is a TOML file with [settings](settings.md); all other settings keep their defaults. A space says what a search
varies. Call either by its name, or by the path of a file of your own:

```sh
kilnet train cifar10 --recipe fast-94
kilnet tune cifar10 --space tutorial
kilnet recipes fast > mine.toml
```
"""


def page() -> str:
    """Return the page: one section per recipe, then one per space."""
    sections = []
    for recipe in list_recipes():
        title = recipe.name if recipe.kind == "recipe" else f"Space: {recipe.name}"
        sections.append(f"## {title}\n\n```toml\n{recipe.text.rstrip()}\n```\n")
    return "\n".join([_HEAD, *sections])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

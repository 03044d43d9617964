"""Pages of the site that lie at the root of the repository; mkdocs runs this while it builds."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: Any) -> Files:
    """Add the pages."""
    for source, name in PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, name, content=re.sub(r"\]\(([^)]+)\)", _moved, content)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Make links to what is no page of the site into plain text."""
    return re.sub(
        r"\[([^\]]+)\]\((?:\.\./)?(?:src|tests|recipes|notebooks|benchmarks)/[^)]*\)", r"\1", markdown
    )


def _moved(link: re.Match[str]) -> str:
    target = link[1].removeprefix("docs/")
    return f"]({PAGES.get(target, target)})"

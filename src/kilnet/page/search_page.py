"""What a search folder holds, as the sections of a page."""

from collections.abc import Mapping
from typing import Any

from kilnet.metrics import Evaluation
from kilnet.page.document import Section, render
from kilnet.page.run_sections import facts
from kilnet.page.search_sections import search_sections
from kilnet.tuning.summary import Summary


def search_page(summary: Summary, environment: Mapping[str, Any], evaluation: Evaluation | None) -> str:
    """Return a search's page as HTML.

    Args:
        summary: of the search, finished or not.
        environment: what it was begun with.
        evaluation: of its winner on the test split, if that has been read.

    Raises:
        InputError: no trial has an accuracy yet.
    """
    config = summary.config
    halving = ", in rungs" if config.halving else ""
    state = "" if summary.is_complete else "; not finished"
    subtitle = (
        f"{config.strategy} search{halving}: {len(summary.trials)} of {config.num_trials} trials of "
        f"{config.run.model.name} on {environment.get('data', {}).get('name', 'unknown data')}, "
        f"{summary.num_image_passes:,} images trained on{state}"
    )
    sections = [*search_sections(summary, evaluation), _repeat(summary, environment)]
    return render(summary.folder.resolve().name, subtitle, sections)


def _repeat(summary: Summary, environment: Mapping[str, Any]) -> Section:
    content = {
        "what": "search",
        "command": None,
        "begun_with": environment.get("command", "–"),
        "config": summary.config.to_toml(),
        "environment": facts(environment),
    }
    return Section("repeat", "Configuration and environment", "repeat", content)

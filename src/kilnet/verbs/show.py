"""Printing results as tables."""

from rich.console import Group, RenderableType

from kilnet.data.inventory import Inventory
from kilnet.errors import InputError
from kilnet.metrics.classification import Evaluation
from kilnet.terminal.comparison_tables import comparison_tables
from kilnet.terminal.console import TerminalConsole
from kilnet.terminal.inspection_tables import inspection_tables
from kilnet.terminal.inventory_tables import inventory_tables
from kilnet.terminal.ranking_table import ranking_tables
from kilnet.terminal.search_tables import search_tables
from kilnet.terminal.tables import evaluation_tables
from kilnet.tuning.summary import Summary
from kilnet.verbs.compare import RunComparison, RunRanking
from kilnet.verbs.inspect import Inspection
from kilnet.verbs.tune import Search

Result = Evaluation | Inspection | Inventory | RunComparison | RunRanking | Search | Summary


def show(result: Result) -> None:
    """Print a result as tables, as the command line does; in a notebook they appear below the cell.

    Args:
        result: what was returned by `evaluate`, `inspect`, `inspect_data`, `compare`, `compare_all`, `tune` or
            `HyperSearch.optimize`.

    Raises:
        InputError: it is none of these.
    """
    TerminalConsole().print(_tables(result))


def _tables(found: Result) -> RenderableType:
    match found:
        case Evaluation():
            return evaluation_tables(found)
        case Inventory():
            return inventory_tables(found)
        case Inspection():
            return inspection_tables(
                found.layers, found.suspects, found.num_labels_checked, found.wrong_labels, found.duplicates
            )
        case RunComparison():
            return comparison_tables(
                found.names,
                found.evaluations,
                found.differences,
                found.outcome,
                found.disagreements,
            )
        case RunRanking():
            ranked = (found.names, found.split, found.settings, found.evaluations)
            return ranking_tables(*ranked, found.against_best(), len(found.pairs))
        case Summary():
            return search_tables(found)
        case Search():
            tables = search_tables(found.summary, found.evaluation)
            return Group(tables, evaluation_tables(found.evaluation))
        case _:
            raise InputError(f"`result` is a {type(found).__name__}, which has no tables")

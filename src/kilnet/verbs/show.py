"""Printing results as tables."""

from rich.console import Console, Group, RenderableType

from kilnet.data.inventory import Inventory
from kilnet.errors import InputError
from kilnet.metrics import Evaluation
from kilnet.terminal.comparison_tables import comparison_tables
from kilnet.terminal.inspection_tables import inspection_tables
from kilnet.terminal.inventory_tables import inventory_tables
from kilnet.terminal.search_tables import search_tables
from kilnet.terminal.tables import evaluation_tables
from kilnet.tuning.summary import Summary
from kilnet.verbs.compare import RunComparison
from kilnet.verbs.inspect import Inspection
from kilnet.verbs.tune import Search

Result = Evaluation | Inspection | Inventory | RunComparison | Search | Summary


def show(result: Result) -> None:
    """Print a result as tables, as the command line does; in a notebook they appear below the cell.

    Args:
        result: what was returned by `evaluate`, `inspect`, `inspect_data`, `compare`, `tune` or `HyperSearch.optimize`.

    Raises:
        InputError: it is none of these.
    """
    Console(highlight=False).print(_tables(result))


def _tables(result: Result) -> RenderableType:
    match result:
        case Evaluation():
            return evaluation_tables(result)
        case Inventory():
            return inventory_tables(result)
        case Inspection():
            return inspection_tables(
                result.layers, result.suspects, result.num_labels_checked, result.duplicates
            )
        case RunComparison():
            return comparison_tables(
                result.names, result.split, result.differences, result.outcome, result.disagreements
            )
        case Summary():
            return search_tables(result)
        case Search():
            tables = search_tables(result.summary, result.evaluation)
            return Group(tables, evaluation_tables(result.evaluation))
        case _:
            raise InputError(f"`result` is a {type(result).__name__}, which has no tables")

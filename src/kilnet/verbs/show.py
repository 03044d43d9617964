"""Results as tables."""

from rich.console import Console, Group, RenderableType

from kilnet.data.inventory import Inventory
from kilnet.errors import InputError
from kilnet.metrics import Evaluation
from kilnet.terminal.comparison_tables import comparison_report
from kilnet.terminal.inspection_tables import inspection_report
from kilnet.terminal.inventory_tables import inventory_report
from kilnet.terminal.search_tables import search_report
from kilnet.terminal.tables import evaluation_report
from kilnet.tuning.summary import Summary
from kilnet.verbs.compare import RunComparison
from kilnet.verbs.inspect import Inspection
from kilnet.verbs.tune import Search

Result = Evaluation | Inspection | Inventory | RunComparison | Search | Summary


def show(result: Result) -> None:
    """Print a result as the tables of the command line; in a notebook they appear below the cell.

    Args:
        result: of `evaluate`, `inspect`, `inspect_data`, `compare`, `tune` or `HyperSearch.optimize`.

    Raises:
        InputError: it is none of these.
    """
    Console(highlight=False).print(_tables(result))


def _tables(result: Result) -> RenderableType:
    match result:
        case Evaluation():
            return evaluation_report(result)
        case Inventory():
            return inventory_report(result)
        case Inspection():
            return inspection_report(
                result.layers, result.suspects, result.num_labels_checked, result.duplicates
            )
        case RunComparison():
            return comparison_report(
                result.names, result.split, result.differences, result.outcome, result.disagreements
            )
        case Summary():
            return search_report(result)
        case Search():
            tables = search_report(result.summary, result.evaluation)
            return Group(tables, evaluation_report(result.evaluation))
        case _:
            raise InputError(f"there are no tables of a {type(result).__name__}")

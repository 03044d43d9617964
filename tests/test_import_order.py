"""The house's one rule: a room imports only from rooms above it."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "kilnet"

# From the ground up; rooms in one line do not know each other.
FLOORS = (
    ("errors",),
    ("folders",),
    ("config", "storage", "seeding"),
    ("metrics",),
    ("recipes",),
    ("hardware", "data"),
    ("models",),
    ("inference",),
    ("training",),
    ("runs",),
    ("tuning", "inspection", "exporting"),
    ("server", "terminal", "figures", "page"),
    ("verbs", "doctor"),
    ("plots",),
    ("kilnet",),  # __init__.pyi, which lists the public names
    ("cli",),
    ("__main__",),
)
FLOOR = {room: height for height, rooms in enumerate(FLOORS) for room in rooms}


def module_name(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
MODULES["kilnet"] = PACKAGE / "__init__.pyi"  # what __init__.py imports when a public name is used


def imports(module, source, modules):
    """Return the modules of the package that `source` imports, anywhere in it; type-checking ones too."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = module if modules[module].stem == "__init__" else module.rpartition(".")[0]
            for _ in range(node.level - 1):
                package = package.rpartition(".")[0]
            base = ".".join(filter(None, [package if node.level else "", node.module or ""]))
            names = [f"{base}.{alias.name}" for alias in node.names]
            names = [name if name in modules else base for name in names]
        found |= {name for name in names if name in modules}
    return found - {module}


def room(module):
    return module.split(".")[1] if "." in module else module


def cycle(graph):
    """Return modules that import each other in a ring, or None."""
    done = set()

    def visit(module, trail):
        if module in trail:
            return [*trail[trail.index(module) :], module]
        if module in done:
            return None
        for other in sorted(graph[module]):
            if ring := visit(other, [*trail, module]):
                return ring
        done.add(module)
        return None

    return next((ring for module in graph if (ring := visit(module, []))), None)


GRAPH = {module: imports(module, path.read_text("utf-8"), MODULES) for module, path in MODULES.items()}


def test_every_room_has_its_floor():
    assert {room(module) for module in MODULES} == set(FLOOR)


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_from_rooms_above_it_in_the_list(module):
    wrong = [
        other
        for other in GRAPH[module]
        if room(other) != room(module) and FLOOR[room(other)] >= FLOOR[room(module)]
    ]
    assert not wrong, f"{module} imports {', '.join(wrong)}"


def test_no_cycles():
    assert cycle(GRAPH) is None


def test_every_form_of_import_and_every_cycle_is_seen():
    modules = {
        name: Path(f"{name.rpartition('.')[2]}.py")
        for name in ("kilnet.errors", "kilnet.config", "kilnet.data.class_folders", "kilnet.data.splits")
    }
    modules |= {"kilnet": Path("__init__.py"), "kilnet.data": Path("__init__.py")}
    source = """
import kilnet.errors, os
if TYPE_CHECKING:
    from kilnet import config
def late():
    from .class_folders import Problem
    from .. import VERSION
    from kilnet.data import Split
"""
    expected = {"kilnet.errors", "kilnet.config", "kilnet.data.class_folders", "kilnet", "kilnet.data"}
    assert imports("kilnet.data.splits", source, modules) == expected
    assert imports("kilnet.data", "from . import class_folders", modules) == {"kilnet.data.class_folders"}
    assert cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert cycle({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None

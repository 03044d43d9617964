"""Kilnet: train, tune and understand small image classifiers.

    import kilnet
    run = kilnet.train("cifar10", model="ConfigNet", epochs=10)
    print(kilnet.evaluate(run).accuracy)
    print(kilnet.load(run)("cat.jpg").label)

The public names stand in `__init__.pyi`. Each is imported when it is first used, so that `import kilnet` and
the help of the command line do not wait for torch.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_HOMES: dict[
    str, str
] = {}  # of each name, read when one is first asked for: Ctrl-C at once needs a quick start


def __getattr__(name: str) -> "Any":
    from importlib import import_module

    if name == "__version__":
        from importlib.metadata import version

        return version("kilnet")
    homes = _homes()
    if name == "__all__":
        return sorted(homes)
    if name not in homes:
        raise AttributeError(f"module 'kilnet' has no attribute {name!r}")
    if homes[name] == "kilnet":
        return import_module(f"kilnet.{name}")
    return getattr(import_module(homes[name]), name)


def __dir__() -> list[str]:
    return sorted(
        [*_homes(), *(name for name in globals() if name.startswith("__")), "__all__", "__version__"]
    )


def _homes() -> dict[str, str]:
    import ast
    from pathlib import Path

    if not _HOMES:
        for statement in ast.parse(Path(__file__).with_suffix(".pyi").read_text("utf-8")).body:
            if isinstance(statement, ast.ImportFrom) and statement.module:
                _HOMES.update(dict.fromkeys((name.name for name in statement.names), statement.module))
    return _HOMES

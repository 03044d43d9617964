"""Why a cluster or a machine of it cannot be used: versions have to be those of the search."""

import re
from collections.abc import Callable, Mapping

PACKAGES = ("kilnet", "torch", "ray")


def asker() -> Callable[[tuple[str, ...]], dict[str, str]]:
    """Return what asks for versions; being made here, it travels whole and needs nothing where it runs."""

    def ask(packages: tuple[str, ...]) -> dict[str, str]:
        from importlib.metadata import PackageNotFoundError, version
        from platform import python_version

        found = {"Python": ".".join(python_version().split(".")[:2])}
        for name in packages:
            try:
                found[name] = version(name).partition("+")[0]  # torch writes +cpu or +cu128 behind it
            except PackageNotFoundError:
                found[name] = "nowhere"
        return found

    return ask


def difference(there: Mapping[str, str], here: Mapping[str, str]) -> str:
    """Return in words how versions differ from those here, and what to do; empty if they do not."""
    differing = [
        f"no {name}, but {here[name]} is needed"
        if there.get(name, "nowhere") == "nowhere"
        else f"{name} {there[name]}, not {here[name]}"
        for name in here
        if there.get(name) != here[name]
    ]
    return f"it has {' and '.join(differing)}; install the same versions there" if differing else ""


def why_not_joined(message: str) -> str:
    """Return what Ray says where it cannot join a cluster, as one line; Ray lists differing versions over several."""
    pairs = re.findall(r"^\s*(Ray|Python): (\S+)$", message, re.MULTILINE)
    if len(pairs) == 4:  # of the cluster, then of this process
        return difference(dict(pairs[:2]), dict(pairs[2:]))
    if "InvalidAuthToken" in message:
        return "it asks for Ray's token: set RAY_AUTH_MODE=token, and copy its head's ~/.ray/auth_token here"
    return (message.strip().splitlines() or ["no reason was given"])[0]

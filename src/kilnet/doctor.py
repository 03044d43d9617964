"""Facts about this machine, measurements of its speed, and problems."""

import importlib.util
import os
import platform
import shutil
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch

from kilnet import hardware
from kilnet.errors import StorageError
from kilnet.storage import cache_folder, given_path, lasting_cache_folder, write_text

_LOW_DISK_BYTES = 1_000_000_000
_ROUNDS = 3  # the best is told, since noise only ever adds time
_SIDES = 128, 512  # of the matrices: a look at first, then the measurement
_SIDES_ON_GPU = 4096, 4096  # smaller ones are over before the next is started
_BUSY = 0.85  # a process that gets less of the processor than this shares it with others
_NO_HOME = "this user has no home folder; KILNET_CACHE names another"


@dataclass(frozen=True)
class Diagnosis:
    """The state of a machine.

    Attributes:
        facts: by name, as text for the user.
        problems: one line each, with advice.
    """

    facts: dict[str, str]
    problems: tuple[str, ...]


def examine() -> Diagnosis:
    """Examine the environment, and time matrix products for some seconds."""
    device = hardware.resolve_device("auto")
    small, large = _SIDES if device == "cpu" else _SIDES_ON_GPU
    rounds = [hardware.matmul_gflops("fp32", device, large) for _ in range(_ROUNDS)]
    fp32, share = max(rounds), _share_of_processor() if device == "cpu" else 1.0
    slow_bf16 = hardware.matmul_gflops("bf16", device, small) * 10 < fp32  # the large one could take minutes
    side, num_rounds = (small, 1) if slow_bf16 else (large, _ROUNDS)
    bf16 = max(hardware.matmul_gflops("bf16", device, side) for _ in range(num_rounds))
    kept = hardware.keep_freed_memory()
    cache = cache_folder()
    facts = {
        "kilnet": version("kilnet"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "system": platform.platform(),
        "device": device,
        "machine": hardware.machine(device),
        "fp32 product": f"{fp32:,.0f} GFLOP/s",
        "bf16 product": f"{bf16:,.1f} GFLOP/s ({bf16 / fp32:.2g} of fp32)",
        "other programs": f"busy: they leave {share:.0%} of the processor; when it is idle, all of this is faster"
        if share < _BUSY
        else "none to speak of",
        "freed memory": "kept" if kept else "given back to the system (only glibc can keep it)",
        "cache folder": str(cache)
        if lasting_cache_folder()
        else f"{cache}, for this command only: {_NO_HOME}",
        "KILNET_DATA": os.environ.get("KILNET_DATA") or "not set",
    }
    return Diagnosis(facts=facts, problems=tuple(_problems(cache)))


def _share_of_processor(seconds: float = 0.5) -> float:
    """Return how much of its threads' time this process gets while all of them compute."""
    a = torch.ones(512, 512)
    start, cpu_start = time.perf_counter(), time.process_time()
    while (wall := time.perf_counter() - start) < seconds:
        a @ a
    return min(1.0, (time.process_time() - cpu_start) / (wall * torch.get_num_threads()))


def _problems(cache: Path) -> list[str]:
    problems = []
    try:
        cache.mkdir(parents=True, exist_ok=True)
        write_text(cache / "doctor", "")
        (cache / "doctor").unlink()
        free = shutil.disk_usage(cache).free
        if free < _LOW_DISK_BYTES:
            advice = "free some, or point KILNET_CACHE elsewhere"
            problems.append(f"{cache}: only {free / 1e6:,.0f} MB free; {advice}")
    except (OSError, StorageError) as error:
        problems.append(f"{cache}: cannot be written ({error}); point KILNET_CACHE to another folder")
    data = os.environ.get("KILNET_DATA")
    if data and not given_path(data).exists():
        problems.append(f"KILNET_DATA: {data} does not exist; unset it, or point it at a copy of CIFAR-10")
    if importlib.util.find_spec("torchvision"):
        try:
            importlib.import_module("torchvision")
        except Exception as error:  # a build that does not match can raise anything
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            advice = "Kilnet does not need it: uninstall it"
            problems.append(f"torchvision does not fit this torch ({reason}); {advice}")
    if torch.version.cuda and not torch.cuda.is_available():
        problems.append("this torch is built for CUDA, but no GPU answers; check the driver with nvidia-smi")
    return problems

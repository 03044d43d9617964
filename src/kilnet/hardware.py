"""What to compute on, and how: measured on the network and the batch at hand, never taken from a name or a flag."""

import copy
import ctypes
import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from kilnet.config import HardwareConfig, ModelConfig
from kilnet.errors import ConfigError
from kilnet.storage import recall, remember

_PROBE_SECONDS = 1.5  # for each of two comparisons
_FAR_BEHIND = 1.5  # a step that takes so many times as long as the best is not timed again
_PROBE_IMAGES = 64  # the order of the candidates is the same at 512, the wait an eighth
_SIDE_OF_MOST = 64  # pixels; of larger images fewer fill the cores as well
# A precision whose matrix product is slower than this times fp32's is not tried on the network: some CPUs emulate
# bf16 at a hundredth of the speed, and one step would take minutes.
_HOPELESS = 3.0


@dataclass(frozen=True)
class Settings:
    """How a run computes.

    Attributes:
        device: a torch device: "cpu", "cuda:0".
        precision: "fp32" or "bf16" (autocast).
        layout: "contiguous" or "channels_last".
        threads: CPU threads.
        reason: one line on what was measured, for the user.
        weight_gradient: "torch" or "product", as in the configuration.
    """

    device: str
    precision: str
    layout: str
    threads: int
    reason: str = ""
    weight_gradient: Literal["torch", "product"] = "torch"

    @property
    def memory_format(self) -> torch.memory_format:
        """The torch name of `layout`."""
        return torch.channels_last if self.layout == "channels_last" else torch.contiguous_format

    @property
    def records_steps(self) -> bool:
        """Whether the device can play a recorded step of training back by itself."""
        return torch.device(self.device).type == "cuda"

    def apply(self) -> None:
        """Set the process up: number of threads, and an allocator that keeps freed memory."""
        available_threads()  # before it changes
        torch.set_num_threads(self.threads)
        if self.device == "cpu":
            keep_freed_memory()

    def seed(self, seed: int) -> None:
        """Seed whatever draws on the device.

        `torch.manual_seed` seeds every kind of device, and for those that are not there it notes, with all that called
        it, that it is to be done later: 0.45 ms, which a step of a small network would feel.
        """
        if self.device == "cpu":
            torch.default_generator.manual_seed(seed)
        else:
            torch.manual_seed(seed)

    def with_all_threads(self) -> "Settings":
        """Return the same on all cores that this process may use: for work whose results no thread changes."""
        return replace(self, threads=available_threads())

    def autocast(self) -> AbstractContextManager[Any]:
        """Return the context in which forward passes run."""
        return torch.autocast(torch.device(self.device).type, torch.bfloat16, self.precision == "bf16")

    def place(self, model: nn.Module) -> nn.Module:
        """Move a network to the device and its filters into the layout."""
        return model.to(self.device).to(memory_format=self.memory_format)  # type: ignore[call-overload, no-any-return]

    def place_images(self, images: Tensor) -> Tensor:
        """Return images, (num_images, channels, height, width), on the device in the layout."""
        return images.to(self.device).contiguous(memory_format=self.memory_format)

    def record(self) -> HardwareConfig:
        """Return the settings as configuration, so that a repeat measures nothing and computes the same."""
        return HardwareConfig.model_validate({key: vars(self)[key] for key in HardwareConfig.model_fields})


@cache
def available_threads() -> int:
    """Return how many threads torch had before Kilnet first set the number: as many as cores, or what the user set."""
    return torch.get_num_threads()


@contextmanager
def single_threads(number: int) -> Iterator[ThreadPoolExecutor]:
    """Give threads, each of which runs torch's operators alone; nothing else in the process changes."""
    available_threads()  # before it changes
    num_threads = torch.get_num_threads()
    try:
        with ThreadPoolExecutor(number, "single", torch.set_num_threads, (1,)) as pool:
            yield pool
    finally:  # it was this thread's own number, but that of new threads is 1 now
        torch.set_num_threads(num_threads)


def use_huge_pages() -> None:
    """Tell torch to keep blocks of 2 MiB and more on huge pages; call it before the first tensor is made.

    This saves about a tenth of a training step on a CPU (docs/experiments.md, 2026-11-23). torch reads the environment
    variable once, when it first allocates; one that the user has set stays.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")


@cache
def keep_freed_memory() -> bool:
    """Tell glibc to keep freed blocks instead of giving each back to the system; return whether it will.

    A training step frees and allocates the same hundreds of megabytes again and again; with glibc's defaults every
    page is mapped and zeroed again each time, which costs up to half of the step (docs/experiments.md, 2026-11-23).
    The constants are M_MMAP_MAX, M_TRIM_THRESHOLD and M_TOP_PAD of malloc.h.
    """
    if not sys.platform.startswith("linux") or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return all([mallopt(-4, 0), mallopt(-1, 2**31 - 1), mallopt(-2, 64 << 20)])


def resolve_device(name: str) -> str:
    """Turn "auto" or a torch device name into a device that is there.

    Raises:
        ConfigError: the name is no device, or the device is not on this machine.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        torch.zeros(1, device=name).item()  # the "meta" device is there, but holds no numbers
    except (RuntimeError, AssertionError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [""])[0]
        raise ConfigError(
            f"device {name!r} cannot be used here: {reason}; use `device='auto'` or cpu"
        ) from None
    return name


def choose(
    config: HardwareConfig,
    model: nn.Module,
    name: ModelConfig,
    images: Tensor,
    num_classes: int,
    trains: bool = True,
    seconds: float = _PROBE_SECONDS,
    uses_kept: bool = True,
) -> Settings:
    """Decide how to run a network, by timing real steps where the configuration leaves it open.

    The choice is kept in the cache folder for this machine, network and batch shape.

    Args:
        config: what is decided already; "auto" is measured.
        model: the network; it is copied, not changed.
        name: the network's configuration, part of the key under which the choice is kept.
        images: float32 (batch_size, channels, height, width), a batch as in training.
        num_classes: number of logits.
        trains: whether steps of training are timed, or forward passes alone, which take a quarter of the time.
        seconds: for each of two comparisons at most, but for a first step of each candidate and two that are timed.
        uses_kept: whether a choice that is kept is an answer; else it is replaced.

    Raises:
        ConfigError: the device is not there.
    """
    device = resolve_device(config.device)
    is_open = config.threads == 0 and device == "cpu"
    options = product(
        ["fp32", "bf16"] if config.precision == "auto" else [config.precision],
        ["contiguous", "channels_last"] if config.layout == "auto" else [config.layout],
        sorted({1, available_threads()}) if is_open else [config.threads or available_threads()],
    )
    gradient: Literal["torch", "product"] = "product" if config.weight_gradient == "product" else "torch"
    candidates = [
        Settings(device, *each, reason="as configured", weight_gradient=gradient) for each in options
    ]
    if len(candidates) == 1:
        return candidates[0]
    question = [candidate.record().model_dump() for candidate in candidates]
    subject = [name.model_dump(), list(images.shape), num_classes, *([] if trains else ["forward"])]
    key = json.dumps([machine(device), torch.__version__, question, *subject])
    with suppress(TypeError):  # nothing is kept, or something else
        kept = Settings(**recall("hardware.json", key) or {})
        if uses_kept and replace(kept, reason=candidates[0].reason) in candidates:
            return kept
    chosen = _measure(candidates, model, images, num_classes, trains, min(seconds, _PROBE_SECONDS))
    remember("hardware.json", key, vars(chosen))
    return chosen


def images_at_once(most: int, height: int, width: int, least: int = 1) -> int:
    """Return how many images go through a network together: `most` up to 64x64 pixels, of larger ones fewer.

    What a network keeps in memory grows with the pixels: in front of its first pooling a FastNet of 64 channels has
    38 MB for each image of 384x384 pixels.
    """
    return max(min(least, most), min(most, most * _SIDE_OF_MOST**2 // (height * width)))


def probe_size(height: int, width: int) -> int:
    """Return how many images of a size are enough to measure a network's speed with."""
    return images_at_once(_PROBE_IMAGES, height, width, 8)


def measure_speed(
    settings: Settings,
    model: nn.Module,
    images: Tensor,
    num_classes: int,
    seconds: float,
    trains: bool = True,
    prepare: Callable[[nn.Module], object] | None = None,
) -> float:
    """Return images per second of training steps, or else of forward passes, the mean over `seconds` after a warm-up.

    Unlike the best step, which `choose` goes by, the mean holds what other processes on the machine cost. `prepare` is
    called with the network once it is in the mode of training.
    """
    timer = _steps(settings, model, images, num_classes, trains, prepare)
    next(timer)
    times = [next(timer)]
    while sum(times) < seconds:
        times.append(next(timer))
    return len(images) * len(times) / sum(times)


def machine(device: str = "cpu") -> str:
    """Return what the machine computes with, in words: the processor or GPU, and how many cores."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{_processor()}, {available_threads()} threads, {torch.backends.cpu.get_cpu_capability()}"


def matmul_gflops(precision: str, device: str = "cpu", side: int = 1024) -> float:
    """Measure a square matrix product: billions of floating point operations per second, the best of many."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    a, b = (torch.ones(side, side, dtype=dtype, device=device) for _ in range(2))
    times: list[float] = []
    while len(times) < 6 or (sum(times) < 0.1 and len(times) < 100):
        start = time.perf_counter()
        a @ b
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 2 * side**3 / min(times[1:]) / 1e9


def _measure(
    candidates: list[Settings],
    model: nn.Module,
    images: Tensor,
    num_classes: int,
    trains: bool,
    seconds: float,
) -> Settings:
    """Time precision and layout with all threads, then the best of them with fewer, as small networks like it."""
    candidates[0].apply()
    device, dropped = candidates[0].device, ""
    if len({c.precision for c in candidates}) > 1:
        slowdown = matmul_gflops("fp32", device, 128) / matmul_gflops("bf16", device, 128)
        if slowdown > _HOPELESS:
            candidates = [c for c in candidates if c.precision == "fp32"]
            dropped = f"; bf16 products are {slowdown:.0f} times slower here"
    most = max(c.threads for c in candidates)
    if device == "cpu":  # on a GPU so few would measure how fast kernels are launched
        images = images[: probe_size(*images.shape[2:])]
    speed = _speeds([c for c in candidates if c.threads == most], model, images, num_classes, trains, seconds)
    best = max(speed, key=speed.__getitem__)
    rivals = [c for c in candidates if (c.precision, c.layout) == (best.precision, best.layout)]
    if len(rivals) > 1:
        speed |= _speeds(rivals, model, images, num_classes, trains, seconds)
        best = max(rivals, key=speed.__getitem__)
    others = ", ".join(f"{_name(c)} {speed[c]:,.0f}" for c in speed if c is not best)
    return replace(best, reason=f"{_name(best)}: {speed[best]:,.0f} images/s ({others}{dropped})")


def _speeds(
    candidates: list[Settings],
    model: nn.Module,
    images: Tensor,
    num_classes: int,
    trains: bool,
    most_seconds: float,
) -> dict[Settings, float]:
    """Return images per second by candidate: the best step of several, since noise only ever adds time."""
    timers = {c: _steps(c, model, images, num_classes, trains) for c in candidates}
    seconds: dict[Settings, list[float]] = {c: [] for c in candidates}
    for timer in timers.values():
        next(timer)  # warm-up
    start = time.perf_counter()
    while len(seconds[candidates[0]]) < 2 or time.perf_counter() - start < most_seconds:
        for candidate in candidates:  # in turn, so that a busy moment hits all alike
            seconds[candidate].append(next(timers[candidate]))
        most = _FAR_BEHIND * min(min(times) for times in seconds.values())
        candidates = [c for c in candidates if min(seconds[c]) <= most]
    return {c: len(images) / min(times) for c, times in seconds.items()}


def _name(settings: Settings) -> str:
    threads = f" on {settings.threads} thread{'s' if settings.threads > 1 else ''}"
    return f"{settings.precision} {settings.layout}{threads if settings.device == 'cpu' else ''}"


def _steps(
    settings: Settings,
    model: nn.Module,
    images: Tensor,
    num_classes: int,
    trains: bool,
    prepare: Callable[[nn.Module], object] | None = None,
) -> Iterator[float]:
    """Yield the seconds of one forward pass, and backward pass where it trains, after another."""
    model = settings.place(copy.deepcopy(model)).train(trains)
    if prepare:
        prepare(model)
    images = settings.place_images(images)
    labels = torch.arange(len(images), device=settings.device) % num_classes
    while True:
        settings.apply()
        start = time.perf_counter()
        with settings.autocast(), torch.set_grad_enabled(trains):
            loss = F.cross_entropy(model(images), labels)
        if trains:
            model.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
        synchronise(settings.device)
        yield time.perf_counter() - start


def synchronise(device: str) -> None:
    """Wait until the device has done what it was given, so that clocks can be read."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


@cache
def _processor() -> str:
    with suppress(OSError), Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()

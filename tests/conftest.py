import ctypes
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SHARED_DATA = Path(__file__).parents[2] / "shared" / "data"
ALLOWED_SKIPS = Path(__file__).with_name("allowed_skips.txt")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("faults", "the campaign of faults in tests/faults")
    group.addoption("--faults", choices=["long", "full"], default="long", help="form of its slow tests")
    group.addoption("--seed", type=int, default=0, help="seed of its cases")
    group.addoption("--case", default="", help="try only the cases whose name has this in it")


def pytest_configure() -> None:
    # A shell that starts the tests in the background has them, and every program that they start, ignore Ctrl-C.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def unlisted_skip(report: pytest.TestReport | pytest.CollectReport) -> None:
    """Where CI is set, make a skip a failure unless its reason begins as one of allowed_skips.txt does."""
    if report.outcome != "skipped" or not os.environ.get("CI") or hasattr(report, "wasxfail"):
        return
    reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    reason = reason.removeprefix("Skipped: ")
    lines = ALLOWED_SKIPS.read_text("utf-8").splitlines()
    if not any(reason.startswith(line) for line in lines if line and line[0] != "#"):
        report.outcome = "failed"
        report.longrepr = f"skipped for a reason that is not in {ALLOWED_SKIPS.name}: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    unlisted_skip(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    unlisted_skip(report)
    return report


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No test reads or writes the user's cache, or the user's copy of a data set."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("KILNET_CACHE", str(cache))
    monkeypatch.delenv("KILNET_DATA", raising=False)
    return cache


@pytest.fixture(scope="session", autouse=True)
def default_threads() -> int:
    """How many threads torch has before any run sets their number."""
    import torch

    return torch.get_num_threads()


@pytest.fixture(scope="module", autouse=True)
def own_threads(default_threads: int) -> None:
    """Each file begins with torch's own number of threads, on which the last bits of numbers depend."""
    import torch

    torch.set_num_threads(default_threads)


@pytest.fixture(scope="module")
def no_figures() -> Iterator[None]:
    """Figures are composed and not rendered, which takes longer than the tests' runs: their PNGs are empty."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **options: None)
        yield


@pytest.fixture(scope="module")
def trained_before(tmp_path_factory: pytest.TempPathFactory, no_figures: None) -> None:
    """The imports of a first training take seconds, which are more than the tests' budgets."""
    import kilnet
    from made_up_machine import TINY, make_dataset

    out = tmp_path_factory.mktemp("first") / "run"
    kilnet.train(make_dataset(), recipe="fast", epochs=1, settings=TINY, out=out, progress=False)


@pytest.fixture
def processor_time(monkeypatch: pytest.MonkeyPatch, trained_before: None) -> None:
    """Budgets count the time that this process computes, whatever else the machine does."""
    from kilnet.training.session import TrainingSession

    for name in ("kilnet.verbs.train.monotonic", "kilnet.verbs.finetune.monotonic", "time.perf_counter"):
        monkeypatch.setattr(name, time.process_time)
    session = functools.partial(TrainingSession, clock=time.process_time)
    monkeypatch.setattr("kilnet.verbs.train.TrainingSession", session)


@pytest.fixture
def quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing waits for the disk: nobody cuts the power of these tests."""
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture
def no_importance(monkeypatch: pytest.MonkeyPatch) -> None:
    """Searches do not say which keys matter, for which forests are grown."""
    monkeypatch.setattr("optuna.importance.get_param_importances", lambda *_, **__: {})


def chromium() -> str | None:
    """Return where the browser of this machine is."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Headless Chromium; without it tests are skipped."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=chromium())
        except sync_api.Error as error:
            pytest.skip(f"no browser: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture
def camera_browser(browser: Any) -> Iterator[Any]:
    """One with a made-up camera, which every page may use."""
    flags = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    opened = browser.browser_type.launch(executable_path=chromium(), args=flags)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def cifar10_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the real `cifar-10-batches-bin`."""
    given = os.environ.get("KILNET_TEST_CIFAR10")
    if given:
        yield Path(given)
        return
    unpack = SHARED_DATA / "unpack_cifar10.py"
    if not unpack.exists():
        pytest.skip("no CIFAR-10 here: point KILNET_TEST_CIFAR10 at a copy")
    folder = tmp_path_factory.mktemp("cifar10")
    subprocess.run([sys.executable, str(unpack), str(folder)], check=True, capture_output=True)
    yield folder


@pytest.fixture(scope="session")
def trashnet_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the photographs of TrashNet, by class, and their licence."""
    given = os.environ.get("KILNET_TEST_TRASHNET")
    if given:
        return Path(given)
    archive = SHARED_DATA / "trashnet.tar"
    if not archive.exists():
        pytest.skip("no TrashNet here: point KILNET_TEST_TRASHNET at a copy")
    folder = tmp_path_factory.mktemp("trashnet")
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (licence,) = folder.rglob("LICENSE.txt")
    return licence.parent


@pytest.fixture
def bound_by_permissions() -> Iterator[None]:
    """Permissions of files bind this thread and those it starts, even where it is root's (Linux, capset(2))."""
    if sys.platform != "linux" or os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3, this thread
    sets = (ctypes.c_uint32 * 6)()  # effective, permitted, inheritable; twice
    assert libc.capget(header, sets) == 0
    before = sets[0]
    sets[0] &= ~0b110  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
    assert libc.capset(header, sets) == 0
    yield
    sets[0] = before
    assert libc.capset(header, sets) == 0


@pytest.fixture(scope="session")
def colour_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run on a folder of small coloured pictures, `pictures` beside it; copy it before writing."""
    import numpy as np
    from PIL import Image

    import kilnet

    folder = tmp_path_factory.mktemp("colour")
    random = np.random.default_rng(0)
    for channel, name in enumerate(("blue <b>", "green", "red, dark")):
        (folder / "pictures" / name).mkdir(parents=True)
        for number in range(60):
            pixels = random.integers(0, 170, (20, 24, 3), np.uint8)
            pixels[:, :, 2 - channel] += 80
            Image.fromarray(pixels).save(folder / "pictures" / name / f"{number}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        settings = {"model.c1": 6, "model.c2": 8, "model.l1": 16}
        settings |= {"training.batch_size": 16, "optimizer.lr": 0.005}
        hardware = {"device": "cpu", "threads": 1, "precision": "fp32", "layout": "contiguous"}
        kilnet.train(
            folder / "pictures",
            epochs=12,
            out=folder / "run",
            settings={**settings, **{f"hardware.{key}": value for key, value in hardware.items()}},
            progress=False,
        )
    return folder / "run"


@dataclass(frozen=True)
class Served:
    """A running `kilnet serve`."""

    url: str
    port: int
    pid: int


@pytest.fixture(scope="session")
def digit_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs `a` and `b` of the same digits with different seeds, and `fewer` of other ones; copy before writing."""
    import kilnet
    from digit_runs import SMALL

    folder = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        for name, settings in {"a": {}, "b": {"seed": 1}, "fewer": {"data.num_train": 200}}.items():
            settings = {**SMALL, **settings}
            kilnet.train("digits", epochs=2, settings=settings, out=folder / name, progress=False)
    return folder


@pytest.fixture(scope="session")
def search(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A finished search on the digits, as `tune` returns it; nothing is written there but `finetuned`."""
    from digit_searches import tune

    folder = tmp_path_factory.mktemp("search")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(folder / "cache"))
        return tune(folder / "one")


@pytest.fixture(scope="session")
def exports(colour_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A copy of `colour_run`, exported in every format: what `export` returned, by format."""
    import kilnet
    from kilnet.exporting.exported_file import FORMATS

    run = shutil.copytree(colour_run, tmp_path_factory.mktemp("exported") / "run")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(run.parent / "cache"))
        return {name: kilnet.export(run, name, progress=False) for name in FORMATS}


@pytest.fixture(scope="session")
def served(colour_run: Path) -> Iterator[Served]:
    """`kilnet serve` of `colour_run` in a process of its own, which loses patience with slow clients sooner."""
    for package in ("fastapi", "uvicorn"):
        pytest.importorskip(package, reason="the extra `serve` is not installed")
    program = (
        "from kilnet.server import listen, upload; listen._HEAD_SECONDS = 2; upload._BODY_SECONDS = 4; "
        "from kilnet.cli import main; main()"
    )
    words = ["serve", str(colour_run), "--port", "0", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-c", program, *words],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "KILNET_CACHE": str(colour_run.parent / "cache")},
    )
    assert process.stdout is not None
    try:
        started = json.loads(process.stdout.readline())
        assert list(started) == ["url"]
        url = started["url"]
        yield Served(url, int(url.rstrip("/").rpartition(":")[2]), process.pid)
    finally:
        process.terminate()
        process.communicate(timeout=10)


@pytest.fixture
def command(monkeypatch, capfd):
    """Call the command line in this process: (exit code, standard output, standard error)."""

    from kilnet import cli

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kilnet", *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capfd.readouterr())

    return call


@pytest.fixture(scope="module")
def predictor(colour_run: Path) -> Any:
    """The classifier of `colour_run`."""
    import kilnet

    return kilnet.load(colour_run)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Pictures of every kind below a folder, in the order of their paths, and two files that are none."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "new pictures"
    (folder / "deep" / "er").mkdir(parents=True)
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 50, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    wide.save(folder / "a.jpg")
    wide.save(folder / "b.png", exif=exif)
    wide.convert("L").save(folder / "c.webp", lossless=True)
    wide.quantize(16).save(folder / "d.gif")
    (folder / "e.txt").write_text("no picture")
    wide.resize((21, 21)).save(folder / "deep" / "er" / "f.png")
    (folder / "z.jpg").write_bytes((folder / "a.jpg").read_bytes()[:-200])
    return folder


@pytest.fixture(scope="module")
def client(predictor: Any) -> Iterator[Any]:
    """Asks the application of `kilnet serve` without a socket; it has one example and one name of its own."""
    testclient = pytest.importorskip("starlette.testclient", reason="the extra `serve` is not installed")
    import numpy as np

    from kilnet.server.answers import Example
    from kilnet.server.app import make_app
    from sent_pictures import RANDOM, png

    examples = (Example("<img src=x>.png", "green", png(RANDOM.integers(0, 256, (9, 9, 3), np.uint8))),)
    app = make_app(predictor, "run <i>", examples, frozenset({"pictures.example"}))
    with testclient.TestClient(app, base_url="http://localhost:8000") as client:
        yield client


@pytest.fixture
def refusal(command: Any) -> Any:
    """Call the command line with a mistake: exit code and the one line on standard error."""

    def call(*words: Any) -> tuple[int, str]:
        code, out, err = command(*words)
        assert out == ""
        assert err.startswith("kilnet: ")
        assert err.endswith("\n")
        assert len(err.splitlines()) == 1
        return code, err

    return call

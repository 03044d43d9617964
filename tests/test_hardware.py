import json
from dataclasses import replace

import pytest
import torch
from torch import nn

from kilnet import hardware
from kilnet.config import HardwareConfig, ModelConfig
from kilnet.errors import ConfigError
from kilnet.hardware import Settings, choose, resolve_device

IMAGES = torch.randn(4, 3, 8, 8)
NAME = ModelConfig(name="test")


def network():
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(4 * 36, 2))


def choose_for(images=IMAGES, name=NAME, **config):
    return choose(HardwareConfig(device="cpu", **config), network(), name, images, 2)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Measure for a moment only, and leave the number of threads of the test process alone."""
    monkeypatch.setattr(hardware, "_PROBE_SECONDS", 0.0)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def no_measurement(monkeypatch):
    def refuse(*_):
        pytest.fail("measured")

    return lambda: monkeypatch.setattr(hardware, "_measure", refuse)


@pytest.mark.parametrize(
    "name", ["gpu", "", "cuda:99", "cpu:x", "meta", "hpu", "privateuseone", "vulkan", "xla", "auto:1", "CPU"]
)
def test_device_that_is_not_there_is_one_line_that_says_what_works(name):
    with pytest.raises(ConfigError) as caught:
        resolve_device(name)
    assert str(caught.value).startswith(f"device {name!r} cannot be used here: ")
    assert str(caught.value).endswith("use `device='auto'` or cpu")
    assert len(str(caught.value).splitlines()) == 1


def test_device_that_is_there_is_used():
    assert resolve_device("cpu") == "cpu"
    torch.zeros(1, device=resolve_device("auto"))


def test_what_is_configured_is_not_measured(no_measurement):
    no_measurement()
    settings = choose_for(precision="bf16", layout="channels_last", threads=3)
    assert (settings.device, settings.precision, settings.layout, settings.threads) == (
        "cpu",
        "bf16",
        "channels_last",
        3,
    )
    assert settings.reason == "as configured"


def test_choice_is_the_fastest_of_those_left_open(monkeypatch):
    seconds = {("fp32", "contiguous"): 3, ("fp32", "channels_last"): 2, ("bf16", "contiguous"): 1}

    def fake_steps(settings, *_):
        while True:
            yield seconds.get((settings.precision, settings.layout), 9)

    monkeypatch.setattr(hardware, "_steps", fake_steps)
    monkeypatch.setattr(hardware, "matmul_gflops", lambda *_: 1.0)
    chosen = choose_for()
    assert (chosen.precision, chosen.layout) == ("bf16", "contiguous")
    assert "bf16 contiguous on 1 thread: 4 images/s" in chosen.reason
    chosen = choose_for(precision="fp32")
    assert (chosen.precision, chosen.layout) == ("fp32", "channels_last")


@pytest.mark.parametrize(("one_thread_seconds", "chosen"), [(1, 1), (3, 4)])
def test_one_thread_is_tried_where_threads_are_open(one_thread_seconds, chosen, monkeypatch):
    def fake_steps(settings, *_):
        while True:
            yield one_thread_seconds if settings.threads == 1 else 2

    monkeypatch.setattr(hardware, "available_threads", lambda: 4)
    monkeypatch.setattr(hardware, "_steps", fake_steps)
    assert choose_for(precision="fp32").threads == chosen
    assert choose_for(precision="fp32", threads=4).threads == 4


def test_a_real_measurement_chooses_among_the_candidates_and_changes_nothing():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    settings = choose(HardwareConfig(device="cpu", precision="fp32", threads=1), model, NAME, IMAGES, 2)
    assert settings.layout in ("contiguous", "channels_last")
    assert "images/s" in settings.reason
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_choice_is_kept(no_measurement):
    first = choose_for(precision="fp32")
    no_measurement()
    assert choose_for(precision="fp32") == first


@pytest.mark.parametrize(
    "other",
    [
        {"images": torch.randn(4, 3, 8, 9)},
        {"name": ModelConfig(name="test", c1=3)},
        {"threads": 7},
        {"precision": "bf16"},
    ],
    ids=["image size", "model", "threads", "what is open"],
)
def test_another_question_is_measured_anew(other, monkeypatch):
    questions = []

    def count(candidates, *_):
        questions.append(candidates)
        return candidates[0]

    monkeypatch.setattr(hardware, "_measure", count)
    choose_for(precision="fp32")
    choose_for(**{"precision": "fp32", **other})
    choose_for(precision="fp32")
    assert len(questions) == 2


def test_bf16_is_not_tried_where_its_products_are_hopeless(monkeypatch):
    tried = []

    def fake_steps(settings, *_):
        tried.append(settings.precision)
        while True:
            yield 1.0

    monkeypatch.setattr(hardware, "_steps", fake_steps)
    monkeypatch.setattr(
        hardware, "matmul_gflops", lambda precision, *_: {"fp32": 100.0, "bf16": 1.0}[precision]
    )
    assert choose_for().precision == "fp32"
    assert set(tried) == {"fp32"}
    monkeypatch.setattr(hardware, "matmul_gflops", lambda *_: 100.0)
    choose_for(images=torch.randn(5, 3, 8, 8))
    assert set(tried) == {"fp32", "bf16"}


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe", b"[]", b"3", "every choice is null", "of another version", "of another device"],
)
def test_damaged_choices_are_measured_again(content, own_cache):
    first = choose_for(precision="fp32")
    path = own_cache / "hardware.json"
    (key,) = json.loads(path.read_text())
    entries = {
        "every choice is null": None,
        "of another version": {"device": "cpu", "speed": 3},
        "of another device": {**vars(first), "device": "cuda"},
    }
    path.write_bytes(content if isinstance(content, bytes) else json.dumps({key: entries[content]}).encode())
    settings = choose_for(precision="fp32")
    assert (settings.device, settings.precision) == ("cpu", "fp32")
    assert json.loads(path.read_text())[key] == vars(settings)


def test_cache_that_cannot_be_written_is_not_fatal(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "file" / "cache"))
    assert choose_for(precision="fp32").precision == "fp32"


def test_record_repeats_without_measuring(no_measurement):
    chosen = choose_for()
    no_measurement()
    again = choose(chosen.record(), network(), NAME, IMAGES, 2)
    assert replace(again, reason="") == replace(chosen, reason="")


def test_settings_place_and_cast():
    settings = Settings("cpu", "bf16", "channels_last", 1)
    model = settings.place(network())
    assert model[0].weight.is_contiguous(memory_format=torch.channels_last)
    with settings.autocast():
        assert model(IMAGES).dtype == torch.bfloat16
    with Settings("cpu", "fp32", "contiguous", 1).autocast():
        assert model(IMAGES).dtype == torch.float32


def test_matrix_product_is_timed_not_guessed(monkeypatch):
    clock = iter(range(100))  # every product takes one second
    monkeypatch.setattr(hardware.time, "perf_counter", lambda: float(next(clock)))
    assert hardware.matmul_gflops("fp32", side=100) == pytest.approx(2 * 100**3 / 1e9)


def test_a_seed_is_that_of_torch_without_its_notes_for_devices_that_are_not_there(monkeypatch):
    torch.manual_seed(7)
    expected = torch.rand(5)
    for device in (torch.cuda, torch.xpu, torch.mtia):
        monkeypatch.setattr(device, "manual_seed_all", lambda _: pytest.fail("it looks at every device"))
    Settings("cpu", "fp32", "contiguous", 1).seed(7)
    assert torch.equal(torch.rand(5), expected)


@pytest.mark.parametrize(
    ("side", "most", "least", "number"), [(8, 256, 1, 256), (64, 256, 1, 256), (128, 256, 1, 64)]
)
def test_fewer_large_images_go_through_a_network_together(side, most, least, number):
    assert hardware.images_at_once(most, side, side, least) == number


@pytest.mark.parametrize(("least", "number"), [(1, 1), (8, 8), (300, 256)])
def test_so_many_images_go_through_a_network_at_least(least, number):
    assert hardware.images_at_once(256, 10_000, 10_000, least) == number

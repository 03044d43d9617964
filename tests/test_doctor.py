import sys

import pytest

from kilnet import doctor, hardware


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(hardware, "matmul_gflops", lambda *_: 100.0)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)


def test_facts_are_there_and_a_good_machine_has_no_problem(own_cache):
    diagnosis = doctor.examine()
    assert diagnosis.problems == ()
    assert {"kilnet", "python", "torch", "system", "device", "machine"} <= diagnosis.facts.keys()
    assert diagnosis.facts["cache folder"] == str(own_cache)
    assert all(len(fact.splitlines()) == 1 for fact in diagnosis.facts.values())
    assert list(own_cache.iterdir()) == []


def test_slow_bf16_is_measured_on_a_small_product(monkeypatch):
    sides = []

    def gflops(precision, _device, side):
        sides.append((precision, side))
        return 100.0 if precision == "fp32" else 1.0

    monkeypatch.setattr(hardware, "matmul_gflops", gflops)
    assert "1.0 GFLOP/s (0.01 of fp32)" in doctor.examine().facts["bf16 product"]
    assert {side for precision, side in sides if precision == "bf16"} == {128}


def test_a_gpu_is_measured_with_products_that_take_longer_than_to_start_one(monkeypatch):
    sides = []
    monkeypatch.setattr(hardware, "resolve_device", lambda _: "cuda")
    monkeypatch.setattr(hardware, "machine", lambda _: "a GPU")
    monkeypatch.setattr(hardware, "matmul_gflops", lambda *given: float(sides.append(given) or 100))
    doctor.examine()
    assert {(device, side) for _, device, side in sides} == {("cuda", 4096)}


def the_problem():
    (problem,) = doctor.examine().problems
    assert len(problem.splitlines()) == 1
    return problem


def test_cache_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("KILNET_CACHE", str(tmp_path / "file" / "cache"))
    assert "point KILNET_CACHE" in the_problem()


def test_disk_that_is_nearly_full(monkeypatch):
    usage = type("Usage", (), {"free": 5_000_000})
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda _: usage)
    assert "only 5 MB free" in the_problem()


def test_data_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setenv("KILNET_DATA", str(tmp_path / "gone"))
    assert str(tmp_path / "gone") in the_problem()
    monkeypatch.setenv("KILNET_DATA", str(tmp_path))
    assert doctor.examine().problems == ()


@pytest.mark.parametrize(
    ("code", "part"),
    [
        ("raise RuntimeError('operator torchvision::nms\\ndoes not exist')", "torchvision::nms"),
        ("raise OSError", "OSError"),
    ],
)
def test_torchvision_of_another_build(code, part, tmp_path, monkeypatch):
    (tmp_path / "torchvision.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert part in the_problem()
    (tmp_path / "torchvision.py").write_text("")


@pytest.mark.parametrize(("share", "words"), [(0.5, "busy: they leave 50% of the processor"), (1.0, "none")])
def test_a_busy_machine_is_called_so(monkeypatch, share, words):
    monkeypatch.setattr("kilnet.doctor._share_of_processor", lambda: share)
    monkeypatch.setattr("kilnet.hardware.matmul_gflops", lambda *_: 10.0)
    monkeypatch.setattr("kilnet.hardware.resolve_device", lambda _: "cpu")
    found = doctor.examine()
    assert found.facts["other programs"].startswith(words)


def test_the_share_of_the_processor_is_a_part():
    assert 0 < doctor._share_of_processor(0.05) <= 1

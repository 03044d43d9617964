import dataclasses
import io
import json
import os
import pickle
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kilnet
from inspected import WithoutConvolution, built, classifier_of
from kilnet import cli
from kilnet.config import ViewsConfig
from kilnet.data.sources import load_dataset
from kilnet.errors import DataError, InputError, ModelError, RunFolderError, VerificationError
from kilnet.exporting import exported_file as exporting
from kilnet.exporting.deployed import Deployed, TorchFile, describe, write_torch
from kilnet.exporting.exported_file import readers
from kilnet.exporting.model_card import SCRIPT
from kilnet.exporting.verification import Tolerance, Verification, verify
from kilnet.recipes.reading import load_config

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
onnx_file = pytest.importorskip("kilnet.exporting.onnx_file")

RANDOM = np.random.default_rng(0)


@pytest.fixture(scope="module")
def run(colour_run, tmp_path_factory):
    return shutil.copytree(colour_run, tmp_path_factory.mktemp("runs") / "run")


@pytest.fixture(scope="module")
def exports(run):
    """The run in every format."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KILNET_CACHE", str(run.parent / "cache"))
        return {name: kilnet.export(run, name, progress=False) for name in exporting.FORMATS}


@pytest.fixture
def pictures(tmp_path):
    """A JPEG, a PNG, a palette, grey, 16 bits, transparency, an EXIF orientation, long and tall ones."""
    pixels = RANDOM.integers(0, 256, (7, 11, 3), np.uint8).repeat(9, 0).repeat(9, 1)
    pixels[:, :, 0] //= 3
    wide = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 8
    wide.save(tmp_path / "photo.jpg", quality=90)
    wide.save(tmp_path / "turned.jpg", exif=exif)
    wide.save(tmp_path / "plain.png")
    wide.quantize(12).save(tmp_path / "palette.png")
    wide.quantize(12).save(tmp_path / "holes.gif", transparency=3)
    wide.convert("L").save(tmp_path / "grey.png")
    wide.convert("1").save(tmp_path / "bits.png")
    Image.fromarray(pixels[:, :, 1].astype(np.uint16) * 250).save(tmp_path / "deep.png")
    alpha = wide.convert("RGBA")
    alpha.putalpha(Image.fromarray(pixels[:, :, 2]))
    alpha.save(tmp_path / "glass.png")
    wide.crop((0, 0, 99, 5)).save(tmp_path / "long.png")
    wide.crop((3, 0, 16, 62)).save(tmp_path / "tall.bmp")
    wide.resize((24, 24)).save(tmp_path / "exact.png")
    wide.resize((5, 4)).save(tmp_path / "tiny.png")
    return sorted(tmp_path.iterdir())


def by_class(ranked):
    return {entry["class"]: entry["probability"] for entry in ranked}


def test_a_script_of_onnxruntime_numpy_and_pillow_gives_the_answers_of_kilnet_predict(
    run, exports, pictures, tmp_path, monkeypatch, capfd
):
    """The script is the one in the documents; torch and Kilnet are out of its reach."""
    script = tmp_path / "classify.py"
    script.write_text(SCRIPT)
    (tmp_path / "kilnet.py").write_text("raise ImportError('out of reach')")
    (tmp_path / "torch.py").write_text("raise ImportError('out of reach')")
    done = subprocess.run(
        [sys.executable, script, exports["onnx"].path, *pictures],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    theirs = [json.loads(line) for line in done.stdout.splitlines()]
    words = ["kilnet", "predict", str(run), *map(str, pictures), "--format", "jsonl", "--top", "9"]
    monkeypatch.setattr(sys, "argv", words)
    capfd.readouterr()
    with pytest.raises(SystemExit) as code:
        cli.main()
    ours = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert code.value.code == 0
    assert (
        [entry["file"] for entry in theirs] == [entry["file"] for entry in ours] == list(map(str, pictures))
    )
    for their, our in zip(theirs, ours, strict=True):
        assert their["classes"][0]["class"] == our["classes"][0]["class"], our["file"]
        expected = by_class(our["classes"])
        assert by_class(their["classes"]) == pytest.approx(expected, abs=2e-6), our["file"]
    confidences = {entry["classes"][0]["probability"] for entry in ours}
    assert len(confidences) == len(pictures), "the pictures are told apart"


def test_documents_and_cards_show_the_script_that_is_tested(exports):
    page = (Path(__file__).parents[1] / "docs" / "export.md").read_text(encoding="utf-8")
    assert SCRIPT in page
    assert SCRIPT in exports["onnx"].path.with_name("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", exporting.FORMATS)
def test_export_is_verified_on_the_validation_files(run, exports, name):
    made = exports[name]
    dataset = load_dataset(load_config(run / "config.toml").data)
    predictor = kilnet.load(run)
    content = made.path.read_bytes()
    exported = TorchFile(content) if name == "torch" else onnx_file.OnnxFile(content, "x")
    theirs = exported.probabilities(dataset.validation.images)
    ours = predictor.probabilities(dataset.validation.images)
    assert made.verification.num_images == len(dataset.validation)
    assert made.verification.num_agreeing == (theirs.argmax(1) == ours.argmax(1)).sum()
    assert made.verification.num_correct_kilnet == (ours.argmax(1) == dataset.validation.labels).sum()
    assert made.verification.num_correct_export == (theirs.argmax(1) == dataset.validation.labels).sum()
    assert made.verification.largest_difference == pytest.approx(np.abs(theirs - ours).max(), abs=1e-6)
    if name != "int8":
        np.testing.assert_allclose(theirs, ours, atol=1e-5)
    assert exported.probabilities(dataset.validation.images[:1]).shape == (1, 3)
    assert exported.probabilities(np.tile(dataset.train.images, (3, 1, 1, 1))).shape == (
        3 * len(dataset.train),
        3,
    )


@pytest.mark.parametrize("name", exporting.FORMATS)
def test_what_is_needed_is_inside_the_file_and_nothing_of_this_machine(run, exports, name):
    content = exports[name].path.read_bytes()
    notes = (TorchFile(content) if name == "torch" else onnx_file.OnnxFile(content, "x")).notes
    predictor = kilnet.load(run)
    assert tuple(json.loads(notes["classes"])) == predictor.classes
    assert (notes["channels"], notes["image_height"], notes["image_width"]) == ("3", "24", "24")
    assert float(notes["temperature"]) == predictor.calibration.temperature
    assert json.loads(notes["unsure_below"]) == predictor.calibration.threshold
    assert "bicubic" in notes["resize"]
    for trace in (b"site-packages", b"/kilnet/", str(run).encode()):
        assert trace not in content
    assert len(list(exports[name].path.parent.iterdir())) == 3  # file, numbers, card: one self-contained file


@pytest.mark.parametrize(
    ("name", "options", "further"),
    [
        ("ResNet", {"depth": 8, "width": 4}, {}),
        (
            "FastNet",
            {"widths": [8, 12, 16], "output_scale": 5.0},
            {"mirror": True, "shift_px": 2, "margin": 0.3},
        ),
    ],
)
def test_networks_of_other_makes_and_all_their_views_are_exported(name, options, further):
    classifier = dataclasses.replace(built(name, **options), views=ViewsConfig(**further))
    images = RANDOM.integers(0, 256, (70, *classifier.image_shape), np.uint8)
    expected = classifier.probabilities(images)
    if further:
        first = dataclasses.replace(classifier, views=ViewsConfig()).probabilities(images)
        changed = np.abs(expected - first).max(1) > 1e-5
        assert 0 < changed.sum() < len(images), "where the first look leaves doubt, and there alone"
    network, notes = Deployed(classifier), describe(classifier)
    content = onnx_file.write_onnx(network, classifier.image_shape, notes)
    np.testing.assert_allclose(onnx_file.OnnxFile(content, "x").probabilities(images), expected, atol=1e-5)
    small = onnx_file.quantise(content, images, notes)
    assert np.abs(onnx_file.OnnxFile(small, "x").probabilities(images) - expected).mean() < 0.02
    program = TorchFile(write_torch(network, classifier.image_shape, notes))
    np.testing.assert_allclose(program.probabilities(images), expected, atol=1e-5)


def test_a_network_for_batches_of_one_size_is_refused():
    class OneByOne(WithoutConvolution):
        def forward(self, x):
            return torch.cat([super(OneByOne, self).forward(image[None]) for image in x])

    classifier = classifier_of(OneByOne((3, 4, 4)), (3, 4, 4))
    for write in (onnx_file.write_onnx, write_torch):
        with pytest.raises(ModelError, match="cannot be exported"):
            write(Deployed(classifier), classifier.image_shape, {})


def test_int8_computes_with_integers(exports):
    exact, small = (onnx.load(exports[name].path) for name in ("onnx", "int8"))
    assert not any(node.op_type == "QuantizeLinear" for node in exact.graph.node)
    weights = [
        t for t in small.graph.initializer if t.data_type == onnx.TensorProto.INT8 and len(t.dims) >= 2
    ]
    assert [len(t.dims) for t in weights] == [4] * 4  # the convolutions; linear layers stay as they are


def test_card_and_numbers_lie_beside_the_file(exports):
    made = exports["onnx"]
    card = made.path.with_name("README.md").read_text(encoding="utf-8")
    front = card.split("---\n")[1]
    entries = {key: json.loads(value) for key, value in re.findall(r"^(\w+): (.*)$", front, re.MULTILINE)}
    assert entries["sha256"] == made.sha256
    assert entries["file"] == "model.onnx"
    assert "blue \\<b\\>" in card
    assert "<b>" not in re.sub(r"```.*?```", "", card, flags=re.DOTALL).replace("\\<b\\>", "")
    kept = json.loads((made.path.parent / "model.proof.json").read_text())
    assert kept["sha256"] == made.sha256
    assert kept["proof"]["num_agreeing"] == made.verification.num_agreeing
    assert kept["proof"]["agreement"] == made.verification.agreement


def test_class_names_may_be_anything(run):
    predictor = kilnet.load(run)
    names = ('猫 \n"it\'s"', "\udcff not utf-8", "")
    renamed = dataclasses.replace(predictor, classes=names)
    content = onnx_file.write_onnx(Deployed(renamed), renamed.image_shape, describe(renamed))
    assert tuple(json.loads(onnx_file.OnnxFile(content, "x").notes["classes"])) == names


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((1000, 1000, 0.0, 900, 900), None),
        ((1000, 999, 1e-3, 900, 899), None),
        ((1000, 998, 1e-4, 900, 900), "only 99.80%"),
        ((1000, 1000, 2e-3, 900, 900), "differs by 0.002"),
        ((1000, 1000, float("nan"), 900, 900), "differs by nan"),
        ((10, 10, 0.0, 9, 8), None),
        ((10, 10, 0.0, 9, 7), "falls by 20.00%"),
        ((1000, 1000, 0.0, 900, 940), None),
    ],
)
def test_every_tolerance_can_be_breached(numbers, says):
    breach = Verification(*numbers, Tolerance(0.999, 1e-3, 0.005)).breach()
    assert breach is None if says is None else says in breach


def test_a_file_that_answers_differently_is_deleted_and_refused(run, tmp_path, monkeypatch):
    class Shifted(Deployed):
        def forward(self, images):
            return super().forward(images).roll(1, 1)

    monkeypatch.setattr(exporting, "Deployed", Shifted)
    out = tmp_path / "new" / "model.pt2"
    with pytest.raises(VerificationError, match=r"not exported: only \d+\.\d\d% of the images") as caught:
        kilnet.export(run, "torch", out=out, progress=False)
    assert str(out) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not out.parent.exists()


def test_pictures_without_files_are_verified_from_png_bytes(run):
    split = load_dataset(load_config(run / "config.toml").data).validation
    (first, *_), predictor = readers(split, None), kilnet.load(run)
    assert first().startswith(b"\x89PNG")
    found = verify(
        predictor.probabilities, predictor, readers(split, None), split.labels, Tolerance(1, 1e-9, 0)
    )
    assert found.breach() is None
    grey = kilnet.Split(split.images[:, :1], split.labels, split.names)
    with Image.open(io.BytesIO(readers(grey, None)[0]())) as picture:
        np.testing.assert_array_equal(np.asarray(picture), grey.images[0, 0])


def test_nothing_but_an_older_export_is_replaced(run, exports, tmp_path):
    (tmp_path / "README.md").write_text("# My project\n")
    with pytest.raises(InputError, match=r"README.md exists"):
        kilnet.export(run, "torch", out=tmp_path / "model.pt2", progress=False)
    (tmp_path / "thesis.pt2").write_text("years of work")
    with pytest.raises(InputError, match="Kilnet did not export it"):
        kilnet.export(run, "torch", out=tmp_path / "thesis.pt2", progress=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["README.md", "thesis.pt2"]
    again = kilnet.export(run, "torch", progress=False)
    assert again.path == exports["torch"].path


@pytest.mark.parametrize("num_written", [1, 2])
def test_an_export_that_was_killed_between_its_files_can_be_made_again(
    run, tmp_path, monkeypatch, num_written
):
    out, written, replace = tmp_path / "model.pt2", [], Path.replace

    def replace_and_die(source, target):
        replace(source, target)
        written.extend([target] if target.parent == tmp_path else [])
        if len(written) == num_written:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", replace_and_die)
        with pytest.raises(KeyboardInterrupt):
            kilnet.export(run, "torch", out=out, progress=False)
    assert set(tmp_path.iterdir()) == set(written)
    made = kilnet.export(run, "torch", out=out, progress=False)
    assert made.verification.breach() is None
    assert len(list(tmp_path.iterdir())) == 3


def test_the_verification_needs_the_images_of_the_training(run, tmp_path):
    moved = shutil.copytree(run, tmp_path / "run")
    text = (moved / "config.toml").read_text()
    pictures = shutil.copytree(load_config(moved / "config.toml").data.source, tmp_path / "pictures")
    next(pictures.rglob("*.png")).unlink()
    (moved / "config.toml").write_text(re.sub('source = ".*"', f'source = "{pictures}"', text))
    with pytest.raises(DataError, match="not the images"):
        kilnet.export(moved, progress=False)


def test_command_prints_the_verification(run, tmp_path, monkeypatch, capfd):
    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kilnet", "export", str(run), *map(str, words)])
        capfd.readouterr()
        with pytest.raises(SystemExit) as done:
            cli.main()
        return (done.value.code, *capfd.readouterr())

    code, out, _ = call("--format", "torch", "--out", tmp_path / "net.pt2")
    assert code == 0
    assert "same class             100.00%" in out
    code, out, err = call("--format", "torch", "--out", tmp_path / "net.pt2", "--json")
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["proof"]["agreement"] == 1
    assert list(told) == ["path", "format", "num_bytes", "sha256", "runtime", "images", "proof"]
    code, out, err = call("--format", "tflite")
    assert code == 2
    assert err == "kilnet: --format tflite: there are onnx, torch, int8\n"


# What somebody else has made.


def test_onnx_that_points_at_other_files_is_refused_wherever_the_tensor_hides(exports, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "secret.bin").write_bytes(bytes(1 << 20))

    def point_away(tensor):
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="secret.bin")

    def in_initialiser(model):
        point_away(next(t for t in model.graph.initializer if t.HasField("raw_data")))

    def in_attribute(model):
        tensor = onnx.TensorProto(dims=[4], data_type=onnx.TensorProto.FLOAT, name="t")
        point_away(tensor)
        model.graph.node.append(onnx.helper.make_node("Constant", [], ["t"], value=tensor))

    def in_subgraph(model):
        tensor = onnx.TensorProto(dims=[4], data_type=onnx.TensorProto.FLOAT, name="t")
        point_away(tensor)
        inner = onnx.helper.make_graph([], "inner", [], [], [tensor])
        model.graph.node.append(onnx.helper.make_node("If", ["c"], [], then_branch=inner, else_branch=inner))

    def only_listed(model):
        next(iter(model.graph.initializer)).external_data.add(key="location", value="/etc/passwd")

    for change in (in_initialiser, in_attribute, in_subgraph, only_listed):
        model = onnx.load(exports["onnx"].path)
        change(model)
        with pytest.raises(InputError, match=r"evil.onnx: its weights are in other files"):
            onnx_file.OnnxFile(model.SerializeToString(), "evil.onnx")


@pytest.mark.parametrize("content", [b"", b"\x80\x04pickle", b"x" * 1000, None])
def test_what_is_no_exported_classifier_is_refused(content, exports):
    if content is None:
        value = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1])
        graph = onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["x"], ["y"])], "g", [value], [value]
        )
        graph.output[0].name = "y"
        opset = [onnx.helper.make_opsetid("", 20)]
        content = onnx.helper.make_model(graph, opset_imports=opset, ir_version=10).SerializeToString()
    with pytest.raises(InputError, match=r"^file.onnx: "):
        onnx_file.OnnxFile(content, "file.onnx")


def test_bytes_of_another_format_are_not_read_in_place_of_what_was_checked(exports):
    """ "ORTM" at the fifth byte makes ONNX Runtime look for its own format; here it lies in a field nobody knows."""
    content = exports["onnx"].path.read_bytes()
    images = RANDOM.integers(0, 256, (3, 3, 24, 24), np.uint8)
    expected, read = (
        onnx_file.OnnxFile(start + content, "x").probabilities(images) for start in (b"", b"\x7a\x06..ORTM")
    )
    np.testing.assert_array_equal(read, expected)


class Payload:
    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return Path.touch, (self.marker,)


def hostile(run, tmp_path, **description):
    """Return a copy of a run whose weights say something else of themselves."""
    from kilnet.inference.classifier import read_tensors, write_tensors

    copy = shutil.copytree(run, tmp_path / "hostile")
    tensors, kept = read_tensors(copy / "weights.safetensors")
    write_tensors(copy / "weights.safetensors", tensors, {**kept, **description})
    return copy


VERBS = {
    "load": kilnet.load,
    "predict": lambda run: list(kilnet.predict(run, ["cat.png"])),
    "evaluate": lambda run: kilnet.evaluate(run, "validation", progress=False),
    "export": lambda run: kilnet.export(run, "torch", progress=False),
    "inspect": lambda run: kilnet.inspect(run, progress=False),
    "compare": lambda run: kilnet.compare(run, run, progress=False),
    "report": lambda run: kilnet.report(run, progress=False),
    "serve": lambda run: kilnet.serve(run, port=0, progress=False),
}


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize(
    "model",
    [
        {"name": "evil:build"},
        {"name": "torch.hub:load", "repo_or_dir": "some/body", "model": "net", "trust_repo": True},
    ],
    ids=["code beside the run", "code on the net"],
)
def test_a_run_cannot_choose_what_is_imported(run, verb, model, tmp_path, monkeypatch):
    marker = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\ndef build(**options): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(torch.hub, "load", lambda *_, **__: marker.touch())
    with pytest.raises(RunFolderError, match=f"name it: `model={model['name']!r}`"):
        VERBS[verb](hostile(run, tmp_path, model=model))
    assert not marker.exists()
    assert "evil" not in sys.modules
    with pytest.raises(ModelError):
        kilnet.load(tmp_path / "hostile", model=model["name"])
    assert marker.exists(), "it would have shown"
    sys.modules.pop("evil", None)


def test_a_configuration_cannot_choose_what_is_imported_either(run, tmp_path, monkeypatch):
    """Checking labels by `inspect --folds` trains from it."""
    marker = tmp_path / "executed"
    (tmp_path / "evil.py").write_text(f"open({str(marker)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    copy = shutil.copytree(run, tmp_path / "hostile")
    text = (copy / "config.toml").read_text()
    (copy / "config.toml").write_text(text.replace('name = "ConfigNet"', 'name = "evil:build"'))
    for verb in (*VERBS.values(), lambda run: kilnet.inspect(run, num_folds=2, progress=False)):
        with pytest.raises(
            RunFolderError, match=r"config.toml: its network is evil:build.* `model='evil:build'`"
        ):
            verb(copy)
    assert not marker.exists()


@pytest.mark.parametrize("verb", VERBS)
def test_pickles_in_place_of_tensors_are_refused(run, verb, tmp_path):
    marker = tmp_path / "executed"
    for name, write in {
        "pickle": lambda path: path.write_bytes(pickle.dumps(Payload(marker))),
        "torch": lambda path: torch.save({"w": Payload(marker)}, path),
    }.items():
        copy = shutil.copytree(run, tmp_path / name)
        write(copy / "weights.safetensors")
        with pytest.raises(RunFolderError):
            VERBS[verb](copy)
    assert not marker.exists()


def test_other_files_of_a_run_are_data_too(run, tmp_path):
    marker = tmp_path / "executed"
    for name in ("calibration.json", "config.toml"):
        copy = shutil.copytree(run, tmp_path / name)
        (copy / name).write_bytes(pickle.dumps(Payload(marker)))
        with pytest.raises(RunFolderError):
            kilnet.load(copy)
    assert not marker.exists()


def test_a_network_of_ones_own_is_used_when_it_is_named(run, tmp_path, monkeypatch):
    (tmp_path / "ownnets.py").write_text("from kilnet import ConfigNet as Mine\n")
    monkeypatch.syspath_prepend(tmp_path)
    model = {"name": "ownnets:Mine", "c1": 6, "c2": 8, "l1": 16}
    own = kilnet.load(hostile(run, tmp_path, model=model), model="ownnets:Mine")
    with pytest.raises(RunFolderError, match="`model='ownnets:Mine'`"):
        kilnet.load(tmp_path / "hostile")
    images = RANDOM.integers(0, 256, (2, *own.image_shape), np.uint8)
    np.testing.assert_array_equal(own.logits(images), kilnet.load(run).logits(images))

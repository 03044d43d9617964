import ast
import dataclasses
import functools
import inspect
import re
import subprocess
import sys
import textwrap
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import kilnet
from kilnet.errors import DataError, InputError, ModelError, RunFolderError

pytestmark = pytest.mark.usefixtures("no_figures")

TINY = {
    "model.c1": 4,
    "model.c2": 8,
    "model.l1": 16,
    "hardware.device": "cpu",
    "hardware.threads": 1,
    "hardware.precision": "fp32",
    "hardware.layout": "contiguous",
}


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def stripes(num_images, size=16, seed=0):
    """Pairs that a network tells apart at once: horizontal stripes are 0, vertical ones 1."""
    random = np.random.default_rng(seed)
    pairs = []
    for index in range(num_images):
        pixels = random.integers(0, 80, (size, size))
        pixels[:: 2 if index % 2 == 0 else 1, :: 1 if index % 2 == 0 else 2] += 150
        pairs.append((Image.fromarray(pixels.astype(np.uint8)), index % 2))
    return pairs


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return kilnet.train(
        stripes(200),
        epochs=3,
        out=tmp_path_factory.mktemp("runs") / "stripes",
        settings={**TINY, "training.batch_size": 16},
        progress=False,
    )


class Written(str):
    """An annotation as the source has it; as an object its text differs between versions of Python and NumPy."""

    __slots__ = ()
    __repr__ = str.__str__


def parsed(thing):
    return ast.parse(textwrap.dedent(inspect.getsource(thing))).body[0]


def written(annotation):
    return inspect.Signature.empty if annotation is None else Written(ast.unparse(annotation).strip("'"))


def annotations(thing):
    """Return the annotations of what a function takes, or a class of Kilnet when it is called."""
    if not inspect.isclass(thing):
        return {
            node.arg: written(node.annotation)
            for node in ast.walk(parsed(thing).args)
            if isinstance(node, ast.arg)
        }
    own = [base for base in thing.__mro__ if base.__module__.startswith("kilnet")]
    for base in own:
        if "__init__" in vars(base) and not dataclasses.is_dataclass(base):
            return annotations(base.__init__)
    fields = (node for base in own for node in parsed(base).body if isinstance(node, ast.AnnAssign))
    return {node.target.id: written(node.annotation) for node in fields}


def signature(thing):
    found, types = inspect.signature(thing), annotations(thing)
    parameters = [each.replace(annotation=types[each.name]) for each in found.parameters.values()]
    returns = written(None if inspect.isclass(thing) else parsed(thing).returns)
    return re.sub(r" at 0x\w+", "", str(found.replace(parameters=parameters, return_annotation=returns)))


def function_of(member):
    """Return the function behind a method or property, or None."""
    for wrapped in ("__func__", "fget", "func"):
        member = getattr(member, wrapped, member)
    return member if inspect.isfunction(member) else None


def described(name, thing):
    """Return a line for a public name, and one for each public function and property in a class or module."""
    yield name + ("" if inspect.ismodule(thing) else signature(thing))
    if inspect.isfunction(thing):
        return
    home = thing.__name__ if inspect.ismodule(thing) else "kilnet"
    for member in filter(lambda member: member[0] != "_", dir(thing)):
        value = inspect.getattr_static(thing, member)
        function = function_of(value)
        if function is not None and function.__module__.startswith(home):
            is_property = isinstance(value, property | functools.cached_property)
            yield f"{name}.{member}" + (
                f": {written(parsed(function).returns)}" if is_property else signature(function)
            )


def test_public_names_and_signatures_are_as_written_down(tmp_path):
    lines = [line for name in kilnet.__all__ for line in described(name, getattr(kilnet, name))]
    options = inspect.signature(kilnet.tune).parameters["options"].annotation.__args__[0]
    lines += [f"{options.__name__}.{name}: {kind}" for name, kind in annotations(options).items()]
    pinned, found = Path(__file__).with_name("public_api.txt"), tmp_path / "public_api.txt"
    found.write_text("".join(f"{line}\n" for line in lines))
    assert lines == pinned.read_text().splitlines(), f"if that is meant: cp {found} {pinned}"


def test_public_names_are_documented_and_others_refused():
    for name in kilnet.__all__:
        assert getattr(kilnet, name).__doc__, name
    assert set(kilnet.__all__) <= set(dir(kilnet))
    with pytest.raises(AttributeError, match="has no attribute 'trian'"):
        _ = kilnet.trian


def test_the_version_is_that_of_the_package_and_dir_shows_only_what_is_public():
    assert kilnet.__version__ == version("kilnet")
    assert [name for name in dir(kilnet) if not name.startswith("__")] == sorted(kilnet.__all__)


def test_arrays_a_function_and_a_notebook(tmp_path):
    """A network that is handed over is found again in this process; what a notebook shows has the numbers."""

    def flat(*, image_shape, num_classes, width=8):
        inside = torch.nn.Linear(int(np.prod(image_shape)), width)
        return torch.nn.Sequential(
            torch.nn.Flatten(), inside, torch.nn.ReLU(), torch.nn.Linear(width, num_classes)
        )

    pairs = stripes(120)
    images = np.stack([np.asarray(image) for image, _ in pairs])
    names = [("flat", "tall")[label] for _, label in pairs]
    hardware = {key: value for key, value in TINY.items() if key.startswith("hardware.")}
    run = kilnet.train(
        (images, names), flat, epochs=2, out=tmp_path / "run", settings=hardware, progress=False
    )
    assert run.config.model.name.endswith("flat")
    assert kilnet.load(run).classes == ("flat", "tall")
    assert kilnet.load(tmp_path / "run", model=flat).module is not flat
    with pytest.raises(RunFolderError, match="outside Kilnet"):
        kilnet.load(tmp_path / "run")
    evaluation = kilnet.evaluate(run, data=(images, names), progress=False)
    assert repr(run) == f"Run({str(tmp_path / 'run')!r})"
    assert f"{evaluation.accuracy:.1%}" in run._repr_html_()
    assert repr(evaluation).startswith(f"Evaluation(test: {evaluation.accuracy:.1%}, ")
    assert f"{evaluation.num_correct} of {evaluation.num_images} images right" in evaluation._repr_html_()
    prediction = kilnet.load(run)(images[0])
    assert repr(prediction).startswith(f"Prediction({prediction.label} ")
    assert "<table>" in prediction._repr_html_()
    other = kilnet.train((images, names), epochs=1, out=tmp_path / "other", settings=TINY, progress=False)
    comparison = kilnet.compare(run, other, data=(images, names), progress=False)
    assert "points" in repr(comparison)
    assert str(tmp_path / "other") in comparison._repr_html_()
    with pytest.raises(ModelError, match="give the function or class"):
        kilnet.train((images, names), torch.nn.Flatten())


def test_the_module_gives_the_logits_of_the_classifier(run):
    classifier = kilnet.load(run)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 1, 16, 16)).astype(np.uint8)
    with torch.no_grad():
        logits = classifier.module(classifier.preprocessing(torch.as_tensor(pixels))).numpy()
    np.testing.assert_allclose(logits, classifier.logits(pixels), rtol=1e-4, atol=1e-4)


def test_classes_of_an_evaluation_are_a_frame(run):
    pytest.importorskip("pandas")
    evaluation = kilnet.evaluate(run, data=stripes(200), progress=False)
    frame = evaluation.to_frame()
    assert frame["recall"].tolist() == evaluation.recall.tolist()
    assert frame["class"].tolist() == ["0", "1"]


def test_no_module_hides_a_public_name():
    """Importing `kilnet.x` puts the module into the package as `x`."""
    code = """
import kilnet, pkgutil
for module in pkgutil.walk_packages(kilnet.__path__, "kilnet."):
    if not module.name.endswith("__main__"):
        __import__(module.name)
print([name for name in kilnet.__all__ if name != "plots" and type(getattr(kilnet, name)) is type(kilnet)])
"""
    assert python(code) == "[]\n"


def test_importing_kilnet_does_not_import_torch():
    assert python("import sys, kilnet; print(sorted({'torch', 'numpy', 'PIL'} & set(sys.modules)))") == "[]\n"


def test_pairs_are_trained_evaluated_and_used_in_five_lines(run):
    evaluation = kilnet.evaluate(run, data=stripes(200), progress=False)
    classifier = kilnet.load(run)
    new = np.stack([np.asarray(image)[None] for image, _ in stripes(20, seed=1)])
    assert run.finished
    assert [record.epoch for record in run.history] == [1, 2, 3]
    assert run.best.validation_accuracy > 0.9
    assert (evaluation.split, evaluation.num_images) == ("test", 40)
    assert evaluation.accuracy > 0.9
    assert np.mean([name == str(i % 2) for i, name in enumerate(classifier.predict(new))]) > 0.9


def test_the_numbers_of_an_evaluation_are_those_of_the_loaded_network(run):
    data = kilnet_dataset(stripes(60, seed=2))
    evaluation = kilnet.evaluate(run, "all", data=data, progress=False)
    images = data.split("all")
    predictions = kilnet.load(run).predict(images.images)
    num_correct = sum(int(name) == label for name, label in zip(predictions, images.labels, strict=True))
    assert (evaluation.num_images, evaluation.num_correct) == (60, num_correct)


def kilnet_dataset(pairs, classes=("0", "1")):
    images = np.stack([np.asarray(image)[None] for image, _ in pairs])
    labels = np.array([label for _, label in pairs])
    names = tuple(map(str, range(len(pairs))))
    cuts = (slice(0, -20), slice(-20, -10), slice(-10, None))
    return kilnet.ImageDataset(
        "mine", classes, *(kilnet.Split(images[cut], labels[cut], names[cut]) for cut in cuts)
    )


def test_own_dataset_is_evaluated_on_its_test_split_and_other_data_on_all(tmp_path):
    data = kilnet_dataset(stripes(80))
    run = kilnet.train(data, epochs=1, out=tmp_path / "run", settings=TINY, progress=False)
    assert (run.num_validation, kilnet.load(run).classes) == (10, ("0", "1"))
    evaluation = kilnet.evaluate(run, data=data, progress=False)
    assert (evaluation.split, evaluation.num_images) == ("test", 10)
    other = kilnet_dataset(stripes(60, seed=5))
    evaluation = kilnet.evaluate(str(run.folder), data=other, progress=False)
    assert (evaluation.split, evaluation.num_images) == ("mine all", 60)
    with pytest.raises(InputError, match="does not know cat, dog"):
        kilnet.evaluate(run, data=kilnet_dataset(stripes(60), ("cat", "dog")), progress=False)
    with pytest.raises(DataError, match="16"):
        kilnet.evaluate(run, data=kilnet_dataset(stripes(60, size=20)), progress=False)


def test_classes_of_other_data_are_matched_by_name(run):
    pairs = stripes(60)
    straight = kilnet.evaluate(run, "all", data=kilnet_dataset(pairs), progress=False)
    swapped = [(image, 1 - label) for image, label in pairs]
    turned = kilnet.evaluate(run, "all", data=kilnet_dataset(swapped, ("1", "0")), progress=False)
    assert turned.classes == straight.classes
    np.testing.assert_array_equal(turned.confusion, straight.confusion)


def test_training_never_reads_the_test_split(tmp_path, monkeypatch):
    data = kilnet_dataset(stripes(80))

    def refuse(_):
        pytest.fail("the test split was read")

    monkeypatch.setattr(kilnet.ImageDataset, "test", property(refuse))
    kilnet.train(data, epochs=1, out=tmp_path / "run", settings=TINY, progress=False)


def test_same_seed_same_weights_other_seed_other_weights(tmp_path):
    def weights(name, seed):
        run = kilnet.train(
            stripes(80),
            epochs=1,
            seed=seed,
            out=tmp_path / name,
            settings={**TINY, "augment": "tutorial"},
            progress=False,
        )
        return (run.folder / "weights.safetensors").read_bytes()

    assert weights("a", 1) == weights("b", 1) != weights("c", 2)


def test_same_call_again_finds_the_finished_run(run):
    before = {path: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    again = kilnet.train(
        stripes(200), epochs=3, out=run.folder, settings={**TINY, "training.batch_size": 16}, progress=False
    )
    assert again.history == run.history
    assert before == {path: path.read_bytes() for path in run.folder.glob("*.safetensors")}
    with pytest.raises(RunFolderError, match="seed: 0 -> 1"):
        kilnet.train(
            stripes(200),
            epochs=3,
            seed=1,
            out=run.folder,
            settings={**TINY, "training.batch_size": 16},
            progress=False,
        )


def test_default_folder_is_a_free_name_or_the_same_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def folder(seed):
        return kilnet.train(stripes(60), epochs=1, seed=seed, settings=TINY, progress=False).folder.as_posix()

    assert [folder(0), folder(1), folder(0)] == [
        "runs/list-ConfigNet",
        "runs/list-ConfigNet-2",
        "runs/list-ConfigNet",
    ]

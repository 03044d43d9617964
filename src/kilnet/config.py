"""The configuration of a run: defaults < recipe file < single settings.

Every key has one dotted name (`optimizer.lr`), one type and one default; an unknown key is refused with the
nearest right one. `[model]` also holds the network's own options (`model.c1`), which `kilnet.models` checks.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import quote_from_bytes, unquote_to_bytes

import tomli_w
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


def _path_of(text: str) -> str:
    """Return the path that a file: URI names; any other text as it is."""
    if not text.startswith("file:/"):
        return text
    path = text.removeprefix("file:")
    return os.fsdecode(unquote_to_bytes(path.removeprefix("//") if path.startswith("///") else path))


def _written(path: str) -> str:
    """Return a path as TOML can hold it: a file: URI (RFC 8089) where its bytes are no text."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return f"file:{quote_from_bytes(os.fsencode(Path(path).absolute()))}"
    return path


Fit = Literal["pad", "crop", "stretch"]
PathText = Annotated[str, AfterValidator(_path_of)]
Select = Literal["loss", "accuracy", "macro-recall"]
PlannedKey = Literal[
    "training.epochs",
    "training.min_steps",
    "training.averaging_epochs",
    "training.low_resolution",
    "model.widths",
    "augment.horizontal_flip",
    "augment.alternate_flips",
    "views.mirror",
    "training.frozen",
]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class DataConfig(_Part):
    """Which images, and how they are split.

    Attributes:
        source: "cifar10", "digits", a folder of pictures, or a table of labels or archive of these; a file: URI where
            its name is no text.
        root: folder that the paths in a table of labels begin in; unset, the one that holds the table.
        columns: which columns of a table are what, such as "label=diagnosis,group=patient"; those that are not named
            are found by their names.
        group: what pictures have in common that must not stand in two splits: a column of the table, a pattern on
            their paths with a group of that name, such as "(?P<group>patient\\d+)", or "exif": one camera within a
            minute.
        near_duplicates: whether pictures that show nearly the same stay "together" in one split, or may come "apart".
            Equal ones always stay together; where there are groups, they say what does.
        channels: "fitted" gives pictures one channel where all are grey; "grey" or "colour" gives all one or three.
        dir: folder with a copy of CIFAR-10; the variable KILNET_DATA names one too. Unset, it is fetched.
        image_size: side of the square images in pixels; unset, it is fitted to the pictures.
        fit: how a picture becomes a square: "pad" fits the longer side and leaves black beside the shorter, "crop" fits
            the shorter side and keeps the middle of the longer, "stretch" fits both. Unset, "pad", or what suits the
            pretrained network.
        normalisation: "fitted" to the mean and deviation of the training images, or "half": from -1 to 1. Pretrained
            weights bring their own.
        num_train: train on this many images only, the first after the split; unset, on all.
        validation_fraction: part of the training images kept for validation, if the data has no validation split.
        test_fraction: part of all images kept for the test, if the data has no test split.
        split_seed: seed of these two splits. It is not `seed`, so that repeats share their test images.
        on_bad_image: what to do when a file is no usable image: "fail" or "skip" it.
        corrections: a table of labels that are put right and of images that are left out, as `kilnet review` writes it;
            images stay in the splits in which they were.
    """

    source: PathText = "cifar10"
    dir: PathText | None = None
    root: PathText | None = None
    columns: str | None = None
    group: str | None = None
    near_duplicates: Literal["together", "apart"] = "together"
    channels: Literal["fitted", "grey", "colour"] = "fitted"
    image_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    fit: Fit | None = None
    normalisation: Literal["fitted", "half"] = "fitted"
    num_train: Count | None = None
    validation_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.2
    split_seed: Annotated[int, Field(ge=0)] = 0
    on_bad_image: Literal["fail", "skip"] = "fail"
    corrections: PathText | None = None


TIMM = "timm:"
"""What the names of networks of the library timm begin with."""


def is_foreign(name: str) -> bool:
    """Whether a network's name stands for code outside Kilnet, "package.module:builder"."""
    return ":" in name and not name.startswith(TIMM)


class ModelConfig(BaseModel):
    """The network and its own options.

    Attributes:
        name: "ConvNet", "ConfigNet", "ResNet", "FastNet", "EfficientNetLite", "timm:NAME" for one of that library, or
            package.module:builder of your own.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    name: str = "ConfigNet"

    @property
    def options(self) -> dict[str, Any]:
        """The network's own options, by name."""
        return dict(self.model_extra or {})


class AugmentConfig(_Part):
    """Random changes of the training images; 0 switches one off.

    Attributes:
        rotation: angle, uniform in ± this many degrees.
        translation: shift, uniform in ± this fraction of the side, drawn for x and y separately.
        shift_px: shift by whole pixels, uniform in ± this many, for x and y separately; nothing is blurred.
        zoom: scale, uniform in 1 ± this.
        horizontal_flip: probability of a mirror image, left and right exchanged.
        vertical_flip: probability of a mirror image, top and bottom exchanged.
        alternate_flips: draw horizontal flips once and reverse them in every second epoch, so that two epochs show
            each image both ways.
        fill: what fills the space that opens at the border: the image's mirror image or black.
        brightness, contrast, saturation: factor, uniform in 1 ± this, not below 0.
        hue: shift, uniform in ± this fraction of the colour circle.
        cutout: side of a black square at a random place, as a fraction of the image's side.
        crop: smallest part of an image's area that is shown, enlarged, uniform from this to 1, with sides in a ratio of
            3 to 4 up to 4 to 3; 0 shows all of it.
        mixup: concentration of the share at which two images and their labels are mixed (0.2 mixes little, 1 evenly).
        cutmix: concentration of the share of an image that a rectangle of another replaces, labels mixed in proportion.
            With both, each batch draws one of them.
        trivial: whether each image gets one change more, drawn with its strength from a list of fourteen: rotated,
            sheared, shifted, brighter, sharper, with fewer values and so on (TrivialAugment).
    """

    rotation: Annotated[float, Field(ge=0, le=180)] = 0.0
    translation: Fraction = 0.0
    shift_px: Annotated[int, Field(ge=0)] = 0
    zoom: Annotated[float, Field(ge=0, lt=1)] = 0.0
    horizontal_flip: Fraction = 0.0
    vertical_flip: Fraction = 0.0
    alternate_flips: bool = False
    fill: Literal["mirror", "black"] = "mirror"
    brightness: NonNegative = 0.0
    contrast: NonNegative = 0.0
    saturation: NonNegative = 0.0
    hue: Annotated[float, Field(ge=0, le=0.5)] = 0.0
    cutout: Fraction = 0.0
    crop: Fraction = 0.0
    mixup: NonNegative = 0.0
    cutmix: NonNegative = 0.0
    trivial: bool = False

    @model_validator(mode="after")
    def _has_flips_to_alternate(self) -> Self:
        if self.alternate_flips and not self.horizontal_flip:
            raise ValueError("alternate_flips needs horizontal_flip above 0")
        return self


class OptimizerConfig(_Part):
    """How the weights move.

    Attributes:
        name: "adam", "adamw", "sgd" (with Nesterov momentum where momentum is above 0), or "muon": orthogonalised
            momentum for filters of convolutions that batch norm follows, and sgd for all other weights.
        lr: the highest learning rate of the schedule.
        momentum: of sgd, and of the weights that muon leaves to sgd.
        weight_decay: L2 penalty on the weights; adamw decouples it from the gradient.
        schedule: factor on lr over the run: "constant", "cosine" and "linear" to zero, "onecycle" up and down.
        warmup_epochs: epochs over which lr first rises linearly from 0; may be a fraction.
        clip_norm: highest L2 norm of all gradients together; larger ones are scaled down. 0 leaves them.
        filter_momentum: momentum of muon's filters; `momentum` is for all other weights.
        linear_factor: with muon, the rate of weights that are no filters, as a multiple of `lr`.
        bias_factor: with muon, the rate of biases, those of batch norm included, as a multiple of `lr`.
        layer_decay: the rate of each layer (or block of layers) as a multiple of that of the next one; below 1, what is
            far from the answers moves slowly, as suits pretrained networks.
    """

    name: Literal["adam", "adamw", "sgd", "muon"] = "adam"
    lr: Annotated[float, Field(gt=0)] = 0.001
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: NonNegative = 0.0
    schedule: Literal["constant", "cosine", "linear", "onecycle"] = "onecycle"
    warmup_epochs: NonNegative = 0.0
    clip_norm: NonNegative = 0.0
    filter_momentum: Annotated[float, Field(ge=0, lt=1)] = 0.6
    linear_factor: Annotated[float, Field(gt=0)] = 1.0
    bias_factor: Annotated[float, Field(gt=0)] = 1.0
    layer_decay: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _settings_go_together(self) -> Self:
        if self.schedule == "onecycle" and self.warmup_epochs:
            raise ValueError(
                "warmup_epochs goes with schedule constant, cosine or linear; onecycle warms up by itself"
            )
        for key in ("filter_momentum", "linear_factor", "bias_factor"):
            if self.name != "muon" and getattr(self, key) != type(self).model_fields[key].default:
                raise ValueError(f'{key} goes with name = "muon"; {self.name} has one rate for all weights')
        if self.name == "muon" and self.layer_decay != 1:
            raise ValueError("layer_decay goes with adam, adamw and sgd")
        return self


class TrainingConfig(_Part):
    """How long to train, in which batches, and when to stop.

    Attributes:
        epochs: how often to go through the training images.
        batch_size: images per step.
        min_steps: smallest number of steps per epoch; a run of fewer than six epochs has as many steps as six of
            these. With few images, batches become smaller than `batch_size`, and muon's `linear_factor` and
            `bias_factor` are lowered in proportion. 0 leaves batches as they are.
        label_smoothing: part of each label that is shared out among all classes.
        balance: what is done for rare classes: "none"; "weights", where images of rare classes count more in the loss;
            "sampling", where an epoch has as many images of each class; or "logits", where the loss adds the logarithms
            of the classes' shares to the logits, so that the network answers as if all classes were equally common.
        select: what chooses the epoch whose weights are kept, and what patience watches, on validation: "loss",
            "accuracy" or "macro-recall", the mean of the classes' recalls. A search chooses its trials by macro recall
            if it says so, else by accuracy.
        patience: stop after this many epochs without a better validation; unset, never. A budget leaves out
            some validations; then it counts the others.
        min_delta: by how much what `select` names must be better to count.
        keep: which weights to keep: "best", those with the best validation, or "last". Last suits a rate that
            falls to zero and few validation images, whose noise would choose an earlier epoch.
        initial_weights: "random", or "parent": the weights kept by the run that `parent` names. A network with an
            option `weights` begins with what that names; its last layer is fitted to these images first.
        frozen: what stays as it is in a pretrained network: "nothing"; "statistics", of batch norm; "early", these and
            the first half of its layers; or "features", all but the last layer, which is fitted and ends the run.
        batch_norm_images: before each validation, measure batch norm's statistics again on this many training images,
            as they are in use: not augmented, dropout off. 0 keeps the running averages of training.
        averaging_epochs: validate and keep the average of the weights of about so many last epochs; 0, of none.
        initial_epochs: in what is validated and kept, the weights before the first step count like so many epochs.
        teacher_weight: part of the loss that asks for the answers of the run that `parent` names, as `kilnet distill`
            sets it; the rest asks for the labels. 0 has no teacher.
        temperature: divides logits where a teacher's answers are compared; above 1, improbable classes count more.
        low_resolution: pairs of numbers from 0 to 1. With [[0.5, 0.5], [0.7, 0.75]] images have half their side until
            half of the run is done, three quarters of it until 0.7, and then their own. With a budget these are parts
            of the time, otherwise of the epochs.
        checkpoint_seconds: how often to save the state in the middle of an epoch.
    """

    epochs: Count = 10
    batch_size: Annotated[int, Field(ge=2)] = 128
    min_steps: Annotated[int, Field(ge=0)] = 0
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
    balance: Literal["none", "weights", "sampling", "logits"] = "none"
    select: Select = "loss"
    patience: Count | None = None
    min_delta: NonNegative = 0.0
    keep: Literal["best", "last"] = "best"
    initial_weights: Literal["random", "parent"] = "random"
    frozen: Literal["nothing", "statistics", "early", "features"] = "nothing"
    batch_norm_images: Annotated[int, Field(ge=0)] = 2048
    averaging_epochs: NonNegative = 0.0
    initial_epochs: NonNegative = 0.0
    teacher_weight: Fraction = 0.0
    temperature: Annotated[float, Field(gt=0)] = 2.0
    low_resolution: tuple[tuple[Fraction, Annotated[float, Field(gt=0, le=1)]], ...] = ()
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 30.0

    def batch_size_for(self, num_images: int) -> int:
        """Return the images per step of a run over this many."""
        most = num_images * min(self.epochs, 6) // (6 * self.min_steps) if self.min_steps else num_images
        return min(self.batch_size, max(2, most))

    @model_validator(mode="after")
    def _resolutions_follow_each_other(self) -> Self:
        moments = [until for until, _ in self.low_resolution]
        if moments != sorted(set(moments)):
            raise ValueError("low_resolution: the first numbers of its pairs must rise")
        return self


class BudgetConfig(_Part):
    """How much time a run may take, and what is chosen to fill it.

    Attributes:
        seconds: wall time of the command, or of all that worked on the run; unset, whatever its epochs take.
        planned: dotted keys that are decided at the start; a run's configuration holds what was decided.
    """

    seconds: Annotated[float, Field(gt=0)] | None = None
    planned: tuple[PlannedKey, ...] = ()


class ViewsConfig(_Part):
    """Which views of an image a trained network averages; validation during training looks at the image alone.

    Attributes:
        mirror: also look at the mirror image.
        shift_px: also look at both moved by this many pixels, up and left, and down and right.
        margin: look again only if the two highest probabilities differ by less than this; 1 is always.
    """

    mirror: bool = False
    shift_px: Annotated[int, Field(ge=0)] = 0
    margin: Annotated[float, Field(gt=0, le=1)] = 1.0


class HardwareConfig(_Part):
    """What the run computes on. "auto" is measured and then recorded, so that a repeat uses the same.

    Attributes:
        device: "auto", or a torch device: "cpu", "cuda", "cuda:1", "mps".
        precision: "fp32", "bf16" (autocast), or "auto": the faster.
        layout: memory order of images and filters, or "auto": the faster.
        threads: CPU threads; 0 takes all cores that this process may use.
        weight_gradient: "torch", or "product": of matrices where outputs are small, other ways for depthwise layers.
            "auto" on a CPU is the faster with a budget, and "product" with depthwise layers; else "torch".
    """

    device: str = "auto"
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    layout: Literal["auto", "contiguous", "channels_last"] = "auto"
    threads: Annotated[int, Field(ge=0)] = 0
    weight_gradient: Literal["auto", "torch", "product"] = "auto"


class RunConfig(_Part):
    """Everything that decides what a run computes.

    Attributes:
        seed: seed of weights, order of the images, augmentation and dropout.
        parent: folder of the run that this one was made from.
    """

    seed: Annotated[int, Field(ge=0)] = 0
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    training: TrainingConfig = TrainingConfig()
    budget: BudgetConfig = BudgetConfig()
    views: ViewsConfig = ViewsConfig()
    hardware: HardwareConfig = HardwareConfig()
    parent: PathText | None = None

    @model_validator(mode="after")
    def _has_the_parent_it_starts_from(self) -> Self:
        if self.training.initial_weights == "parent" and self.parent is None:
            raise ValueError('training.initial_weights = "parent" needs parent, a run folder')
        if self.training.teacher_weight and self.parent is None:
            raise ValueError("training.teacher_weight needs parent, a run folder")
        return self

    def to_toml(self) -> str:
        """Return the whole configuration as TOML that `load_config` reads back; keys without a value are left out."""
        return tomli_w.dumps(self.tree())

    def tree(self) -> dict[str, Any]:
        """Return the tables that TOML holds."""
        tree = self.model_dump(exclude_none=True)
        for table, key in (
            (tree["data"], "source"),
            (tree["data"], "dir"),
            (tree["data"], "root"),
            (tree["data"], "corrections"),
            (tree, "parent"),
        ):
            if key in table:
                table[key] = _written(table[key])
        return tree

    def flat(self) -> dict[str, Any]:
        """Return every key by its dotted name."""
        return dict(by_dotted_key(self.model_dump()))


def by_dotted_key(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every value that is no table with its key: `{"a": {"b": 1}}` has `("a.b", 1)`."""
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from by_dotted_key(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value

"""Which split a folder's name means: train, Training, seg_train, train2017, Validierung, 测试集."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from kilnet.data.archive import Place

# As data sets call them, in English and then in other languages.
_WORDS = {
    "train": "train training trn trainval "
    "learning lernen entrainement apprentissage entrenamiento treino treinamento addestramento allenamento trening "
    "treningowy uczacy trenink trenovaci traning traening koulutus egitim latih pelatihan "
    "обучение обучающая тренировка тренировочная навчання εκπαιδευση 训练 訓練 学習 학습 훈련 تدريب آموزش אימון",
    "validation": "val valid validate validation validating dev devel development "
    "validierung validacion validacao validazione validatie walidacja walidacyjny validace validacni validering "
    "validointi dogrulama validasi валидация валидационная проверка валідація επικυρωση 验证 驗證 検証 검증 تحقق",
    "test": "test tests testing tst eval evaluation evaluate holdout heldout "
    "teste testes prueba pruebas testowy testovaci testi pengujian uji тест тестирование тестовая тестування δοκιμη "
    "测试 測試 テスト 테스트 평가 اختبار آزمون בדיקה",
}
_EITHER = ("eval", "evaluation", "evaluate")
"""These are used for validation where there is a test beside them."""
# What says nothing more about a split, also as the end of a word: testset, trainingsdaten, 训练集.
_FILLERS = (
    "set sets data dataset datasets image images img imgs pic pics picture pictures photo photos split splits folder "
    "files daten datensatz satz menge bilder donnees datos dados 集 数据 数据集 資料 データ 用 画像 세트 데이터"
)


def _plain(text: str) -> str:
    """Return a text without case and accents."""
    decomposed = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return "".join(character for character in decomposed if unicodedata.category(character) != "Mn")


_SPLITS = {_plain(word): split for split, words in _WORDS.items() for word in words.split()}
_END = re.compile(f"s?(?:{'|'.join(_plain(_FILLERS).split())})+$")


@dataclass(frozen=True)
class SplitName:
    """What a folder's name says.

    Attributes:
        split: train, validation or test.
        rest: its other words, which all splits of one data set have in common: seg_train, seg_test.
        numbers: in it.
        is_either: whether it may mean validation where it says test.
    """

    split: str
    rest: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    is_either: bool = False


def read_name(name: str) -> SplitName | None:
    """Return what a folder's name says of a split; None where it names none, or several."""
    text = re.sub(r"(hold|held)[\W_]*out", "holdout", _plain(name))
    words = re.findall(r"[^\W\d_]+|\d+", text)
    cores = [word if word in _SPLITS else _END.sub("", word) for word in words]
    named = [core for core in cores if core in _SPLITS]
    splits = [_SPLITS[core] for core in named]
    if splits == ["train", "validation"]:  # to be split further
        splits = ["train"]
    if len(splits) != 1:
        return None
    rest = [word for word, core in zip(words, cores, strict=True) if core not in ("", *named)]
    return SplitName(
        split=splits[0],
        rest=tuple(word for word in rest if not word.isdigit()),
        numbers=tuple(word for word in rest if word.isdigit()),
        is_either=named[0] in _EITHER,
    )


def alike(folders: Sequence[Place]) -> dict[str, list[Place]]:
    """Return the folders that are named as splits of one data set, by split.

    Their names are the same but for the word of the split, numbers and fillers. Plain names go before others, and of
    several folders of one split those without a number before others.
    """
    groups: dict[tuple[str, ...], list[tuple[Place, SplitName]]] = {}
    for folder in folders:
        if (name := read_name(folder.name)) is not None:
            groups.setdefault(name.rest, []).append((folder, name))
    plain = groups.get((), [])
    members = plain
    if not any(name.split == "train" for _, name in plain):
        # Those of several data sets together: nobody knows which of them is meant.
        several = [group for group in groups.values() if len({name.split for _, name in group}) > 1]
        members = [member for group in several for member in group] or plain
    found: dict[str, list[Place]] = {}
    splits = {name.split for _, name in members if not name.is_either}
    for folder, name in members:
        is_validation = name.is_either and "test" in splits and "validation" not in splits
        found.setdefault("validation" if is_validation else name.split, []).append(folder)
    numbers = {folder: name.numbers for folder, name in members}
    return {
        split: [folder for folder in found[split] if not numbers[folder]] or found[split]
        for split in _WORDS
        if split in found
    }

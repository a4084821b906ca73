"""The files of a tokeniser that `transformers.AutoTokenizer` reads."""

from pathlib import Path

from lengthgen import files
from lengthgen.data import tokenizer_json
from lengthgen.data.tokenizers import Tokenizer
from lengthgen.exporting import needed

NONE = "There is no tokenizer: the ids are symbols of a synthetic source, not of a text."


def write(tokenizer: Tokenizer, folder: Path, length: int) -> str:
    """tokenizer.json and tokenizer_config.json. Returns a sentence on them for the card.

    length: of the longest input that the model is for.
    """
    portable = tokenizer_json.as_json(tokenizer)
    if portable is None:
        return NONE
    definition, begin = portable
    files.write_text(folder / "tokenizer.json", definition)
    made = needed.transformers().PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"),
        bos_token=begin,
        eos_token=begin,
        pad_token=begin,
        split_special_tokens=True,  # a text that spells the special token is still text
        clean_up_tokenization_spaces=False,
        model_max_length=length,
    )
    made.save_pretrained(folder)
    return (
        f"In training every document began with `{begin}` (id {tokenizer.begin}); the tokenizer "
        "does not put it before a text. It begins, ends and pads a sequence."
    )

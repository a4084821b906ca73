"""Tiny random models of transformers in folders as they are published, with a byte tokenizer."""

import json
from pathlib import Path
from typing import Any

import torch
import transformers

LENGTH = 64  # that they say they were trained at
VOCABULARY = 300
SIZES = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=48,
    max_position_embeddings=LENGTH, bos_token_id=256, eos_token_id=256, pad_token_id=256,
    vocab_size=VOCABULARY,
)  # fmt: skip
IDS = dict(bos_token_id=256, eos_token_id=256, pad_token_id=256, vocab_size=VOCABULARY)
FALCON = dict(
    hidden_size=32, num_hidden_layers=2, num_attention_heads=4, max_position_embeddings=LENGTH,
)  # fmt: skip

# Name -> (class of the configuration, its values). "exact" reads them as lengthgen's own schemes.
EXACT: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", dict(num_key_value_heads=2)),
    "llama_tied": ("LlamaConfig", dict(num_key_value_heads=4, tie_word_embeddings=True)),
    "mistral": ("MistralConfig", dict(num_key_value_heads=2, head_dim=8, sliding_window=16)),
    "qwen2": ("Qwen2Config", dict(num_key_value_heads=2)),
    "qwen3": ("Qwen3Config", dict(num_key_value_heads=2, head_dim=16)),
    "gemma": ("GemmaConfig", dict(num_key_value_heads=1, head_dim=16)),
    "gpt_neox": ("GPTNeoXConfig", {}),
    "phi": ("PhiConfig", {}),
    "granite": ("GraniteConfig", dict(num_key_value_heads=2, attention_multiplier=0.2)),
    "gpt2": ("GPT2Config", IDS | dict(n_embd=32, n_layer=2, n_head=4, n_positions=LENGTH)),
    "opt": ("OPTConfig", dict(ffn_dim=48, word_embed_proj_dim=32)),
    "bloom": ("BloomConfig", IDS | dict(hidden_size=48, n_layer=2, n_head=6, seq_length=LENGTH)),
    "mpt": ("MptConfig", IDS | dict(d_model=32, n_heads=4, n_layers=2, max_seq_len=LENGTH)),
    "falcon": (
        "FalconConfig",
        IDS | FALCON | dict(alibi=False, new_decoder_architecture=True, num_kv_heads=2),
    ),
    "falcon_alibi": (
        "FalconConfig",
        IDS | FALCON | dict(alibi=True, new_decoder_architecture=False, multi_query=True),
    ),
}
OWN_SIZES = ("gpt2", "bloom", "mpt", "falcon", "falcon_alibi")
# What lengthgen has no form for: they are read as released, or not at all.
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "softcap": ("Gemma2Config", dict(num_key_value_heads=1, head_dim=16), "does more than its"),
    "several bases": (
        "Gemma3TextConfig",
        dict(num_key_value_heads=1, head_dim=16),
        "turn at several bases",
    ),
    "no rotation in a layer": (
        "SmolLM3Config",
        dict(num_key_value_heads=2, no_rope_layers=[1, 0]),
        "does more than its",
    ),
    "scaled read-out": ("CohereConfig", dict(num_key_value_heads=2), "does more than its"),
}


def configuration(cls: str, values: dict[str, Any]) -> Any:
    whole = values if "vocab_size" in values else SIZES | values
    return getattr(transformers, cls)(**whole)


def model(config: Any, seed: int = 0) -> Any:
    """Weights that are large enough for every part to show in the logits."""
    torch.manual_seed(seed)
    made = transformers.AutoModelForCausalLM.from_config(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            if parameter.ndim > 1:
                parameter.normal_(0, 0.3)
            else:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return made


def saved(folder: Path, cls: str = "LlamaConfig", values: Any = None, **more: Any) -> Any:
    """A model of this class in `folder`, with its tokenizer. Returns it."""
    made = model(configuration(cls, (values or dict(num_key_value_heads=2)) | more))
    made.save_pretrained(folder)
    write_tokenizer(folder)
    return made


def write(folder: Path, name: str) -> Path:
    """One of EXACT in `folder`."""
    saved(folder, *EXACT[name])
    return folder


def write_tokenizer(folder: Path) -> None:
    """Byte-level, ids 0 to 255 are bytes, 256 begins a text."""
    from lengthgen.data.byte_level import alphabet

    letters = {number: letter for letter, number in alphabet().items()}
    vocabulary = {letters[number]: number for number in range(256)} | {"<|endoftext|>": 256}
    special = {"id": 256, "content": "<|endoftext|>", "special": True}
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    definition = {
        "version": "1.0",
        "added_tokens": [special | flags],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "post_processor": None,
        "decoder": {
            "type": "ByteLevel",
            "add_prefix_space": False,
            "trim_offsets": True,
            "use_regex": True,
        },
        "model": {"type": "BPE", "vocab": vocabulary, "merges": []},
    }
    (folder / "tokenizer.json").write_text(json.dumps(definition))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "bos_token": "<|endoftext|>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))

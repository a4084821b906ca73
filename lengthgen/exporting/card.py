"""The README.md of an exported model: what it is, how it is loaded, what it does past its length.

No torch, and no library: text from facts. Losses are in nats a token.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lengthgen.exporting.evaluated import FIGURE, Evaluation
from lengthgen.reporting import text_tables

PICTURE = f"{FIGURE}.png"
GROUPS = ("model", "scheme", "modifiers", "dataset", "tokenizer", "optim")
SETTINGS = ("seed", "train_length", "steps", "batch_size", "cross_documents")


@dataclass(frozen=True)
class Facts:
    """What a card tells beside the evaluation."""

    run: str
    label: str  # of the scheme and its modifiers
    class_name: str
    own_code: str | None  # why no class of transformers will do; None where one does
    bound: tuple[str, int] | None  # a configuration key that ends the input, and its value
    raisable: bool  # that key may be raised when the model is loaded
    config: Mapping[str, Any]  # the run's
    provenance: Mapping[str, Any]
    weights_sha256: str  # of the run's weights
    file_sha256: str  # of model.safetensors
    differences: Mapping[int, tuple[float, float]]  # tokens -> of the logits, and the largest logit
    tokenizer: str  # a sentence
    remembers: bool = False  # logits depend on the windows that were read before


def text(facts: Facts, evaluation: Evaluation | None) -> str:
    """The page, in Markdown with the head that the Hugging Face hub reads."""
    parts = [
        "---",
        "library_name: transformers",
        "pipeline_tag: text-generation",
        "tags: [lengthgen, length-extrapolation]",
        "---",
        "",
        f"# {facts.run}",
        "",
        f"{_origin(facts)} by lengthgen at {facts.config.get('train_length')} tokens, to see what "
        "it does with longer input. Trained briefly: for research on length, not for use.",
        "",
        *_loading(facts),
        *(_evaluation(facts, evaluation) if evaluation else ["No evaluation is stored.", ""]),
        *_equality(facts),
        *_configuration(facts.config),
        *_provenance(facts),
    ]
    return "\n".join(parts)


def _origin(facts: Facts) -> str:
    start = facts.config.get("from")
    if not start:
        return f"A small decoder-only Transformer with `{facts.label}`, trained"
    return (
        f"`{start['run']}`, which was trained at {start['train_length']} tokens, with "
        f"`{facts.label}`: trained on"
    )


def _loading(facts: Facts) -> list[str]:
    trusted = ", trust_remote_code=True" if facts.own_code else ""
    lines = [
        "## Loading",
        "",
        "```python",
        "from transformers import AutoModelForCausalLM, AutoTokenizer",
        "",
        f'model = AutoModelForCausalLM.from_pretrained("FOLDER"{trusted})  # {facts.class_name}',
        'tokenizer = AutoTokenizer.from_pretrained("FOLDER")',
        "```",
        "",
        facts.tokenizer,
        "",
    ]
    if facts.own_code:
        lines += [
            f"`trust_remote_code=True` is needed: {facts.own_code}. The code in the folder imports "
            f"lengthgen {facts.provenance.get('lengthgen', '')} (`pip install lengthgen`) and does "
            "nothing else. Without running it:",
            "",
            "```python",
            "from lengthgen.exporting.own_code import LengthgenForCausalLM",
            "",
            'model = LengthgenForCausalLM.from_pretrained("FOLDER")',
            "```",
            "",
        ]
    if facts.remembers:
        lines += [
            "transformers keeps the rotary base of the longest window so far, where lengthgen's "
            "follows each window: the logits are the same while windows grow.",
            "",
        ]
    if facts.bound:
        key, length = facts.bound
        more = f' unless it is loaded with `from_pretrained("FOLDER", {key}=N)`'
        ends = f"`{key}` = {length:,}: {facts.class_name} takes no longer input"
        lines += [f"{ends}{more if facts.raisable else ''}.", ""]
    return lines


def _evaluation(facts: Facts, evaluation: Evaluation) -> list[str]:
    protocol = "matched" if "matched" in evaluation.protocols else evaluation.protocols[0]
    losses = evaluation.values(protocol, "loss")
    bits = evaluation.values(protocol, "bits_per_byte")
    L, words = evaluation.train_length, evaluation.words
    rows = []
    for length, row in losses.items():
        word = words.get(length, "") if length > L else "trained here" if length == L else ""
        if row["status"] != "ok":
            rows.append([f"{length:,}", row["status"], "", "", row["reason"] or word])
            continue
        known = row["low"] and row["high"]
        interval = f"{float(row['low']):.4f} to {float(row['high']):.4f}" if known else ""
        cells = [f"{float(row['value']):.4f}", interval]
        bit = bits.get(length)
        cells.append(f"{float(bit['value']):.4f}" if bit and bit["value"] else "")
        rows.append([f"{length:,}", *cells, word])
    head = ("tokens", "loss [nats/token]", "95 %", "bits per byte", "")
    picture = [f"![Loss by length]({PICTURE})", ""] if evaluation.figure else []
    return [
        f"## Loss by length ({protocol})",
        "",
        *picture,
        *text_tables.markdown(head, rows, "rrrrl"),
        "",
        *_beyond(words, L),
        f"Evaluation `{evaluation.id}`: {_counts(losses)}. The words are lengthgen's: *fails*, "
        "*tolerates* and *uses* compare the loss at a length with that at the training length on "
        "the same targets; *untrained* is a model that knows no more than a table of token pairs.",
        "",
    ]


def _beyond(words: Mapping[int, str], train_length: int) -> list[str]:
    """What happens past the training length, a line for each word."""
    lengths: dict[str, list[str]] = {}
    for length, word in sorted(words.items()):
        if length > train_length and word:
            lengths.setdefault(word, []).append(f"{length:,}")
    if not lengths:
        return []
    told = "; ".join(f"**{word}** at {', '.join(at)}" for word, at in lengths.items())
    return [f"Beyond {train_length:,} tokens: {told}.", ""]


def _counts(losses: Mapping[int, Mapping[str, str]]) -> str:
    row = next((r for r in losses.values() if r["status"] == "ok"), None)
    if row is None:
        return "nothing scored"
    return f"{int(row['n_tokens']):,} tokens of {int(row['n_documents']):,} documents"


def _equality(facts: Facts) -> list[str]:
    measured = "; ".join(
        f"{difference:.1e} at {length:,} tokens (largest logit {scale:.1f})"
        for length, (difference, scale) in facts.differences.items()
    )
    return [
        "## The same model",
        "",
        "Largest difference of the logits of this folder, as loaded by transformers, from "
        f"lengthgen's in float32: {measured}.",
        "",
    ]


def _configuration(config: Mapping[str, Any]) -> list[str]:
    rows = [(f"`{key}`", _shown(config[key])) for key in SETTINGS if key in config]
    for group in GROUPS:
        options = config.get(group)
        if isinstance(options, Mapping):
            rows += [(f"`{group}.{key}`", _shown(value)) for key, value in options.items()]
    return ["## Configuration", "", *text_tables.markdown(("key", "value"), rows), ""]


def _shown(value: Any) -> str:
    shown = _cell(value)
    return shown if len(shown) <= 120 else shown[:117] + "..."


def _cell(value: Any) -> str:
    """A text in one cell of a table, whatever is in it."""
    return " ".join(str(value).split()).replace("|", "\\|")


def _provenance(facts: Facts) -> list[str]:
    provenance = facts.provenance
    data = provenance.get("data", {})
    rows: Sequence[tuple[str, Any]] = (
        ("run", facts.run),
        ("command", f"`{provenance.get('command', '')}`"),
        ("commit", provenance.get("commit", "")),
        ("lengthgen", provenance.get("lengthgen", "")),
        ("trained on", provenance.get("device", "")),
        ("precision", provenance.get("precision", "")),
        ("data", f"{data.get('label', '')} {data.get('fingerprint', '')}"),
        ("sha256 of the run's weights", facts.weights_sha256),
        ("sha256 of model.safetensors", facts.file_sha256),
    )
    table = text_tables.markdown(("", ""), [(name, _cell(value)) for name, value in rows])
    return ["## Provenance", "", *table, ""]

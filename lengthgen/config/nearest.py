"""What somebody meant by a name: other spellings, the papers' names, and the nearest valid names."""

import difflib
import re
from collections.abc import Iterable

# How papers and other libraries call what a group offers. Case and separators do not matter.
PAPERS = {
    "scheme": {
        "absolute": "learned", "ape": "learned", "learned absolute": "learned", "learned positions": "learned",
        "sinusoid": "sinusoidal", "sinusoids": "sinusoidal", "vaswani": "sinusoidal",
        "rotary": "rope", "rotary embedding": "rope", "roformer": "rope",
        "t5": "t5_bias", "t5 rpe": "t5_bias", "relative bias": "t5_bias", "bucketed": "t5_bias",
        "kerple": "kerple_log", "relative": "shaw", "randomized": "randomised", "forgetting transformer": "fox",
        "nope": "none", "no pe": "none", "no positions": "none", "no positional encoding": "none",
    },
    "modifier": {"sliding window": "window", "swa": "window", "scalable softmax": "ssmax"},
    "retrofit": {"pi": "position_interpolation", "linear": "position_interpolation", "ntk aware": "ntk"},
    "dataset": {"wikitext": "wikitext103", "stdlib": "python", "fineweb": "fineweb_edu"},
    "tokenizer": {"byte": "bytes"},
    "optim": {"adam": "adamw"},
}  # fmt: skip
# Keys as other trainers call them.
KEYS = {
    "epochs": "steps", "max steps": "steps", "iterations": "steps", "iters": "steps", "max iters": "steps",
    "batch": "batch_size", "bs": "batch_size", "grad accum": "accumulate", "gradient accumulation steps": "accumulate",
    "learning rate": "optim.lr", "context length": "train_length", "context": "train_length",
    "seq len": "train_length", "max seq len": "train_length", "sequence length": "train_length",
    "block size": "train_length", "max length": "train_length", "eval lengths": "evaluation.lengths",
    "lengths": "evaluation.lengths", "layers": "model.n_layers", "n layer": "model.n_layers",
    "num layers": "model.n_layers", "depth": "model.n_layers", "heads": "model.n_heads", "n head": "model.n_heads",
    "num heads": "model.n_heads", "d model": "model.width", "dim": "model.width", "n embd": "model.width",
    "hidden size": "model.width", "dtype": "precision", "gpu": "device", "output dir": "results", "wandb": "tracking",
    "data": "dataset", "pe": "scheme", "position": "scheme", "positional encoding": "scheme", "method": "scheme",
}  # fmt: skip


def same_name(given: str, known: Iterable[str], group: str = "") -> str | None:
    """The one of `known` that `given` is another spelling of, or the paper's name for: `ALiBi`, `T5`, `NoPE`."""
    spelled = {_plain(name): name for name in known}
    meant = {_plain(alias): name for alias, name in PAPERS.get(group, {}).items()}.get(
        _plain(given)
    )
    return spelled.get(_plain(given)) or (meant if meant in spelled.values() else None)


def nearest(given: str, known: Iterable[str]) -> list[str]:
    """At most two names of `known` that `given` may have meant, the best first; [] if none is like it."""
    known = list(known)
    if same := same_name(given, known):
        return [same]
    given = given.casefold()
    likeness = {
        name: difflib.SequenceMatcher(None, given, name.casefold()).ratio() for name in known
    }
    for name in likeness:
        if len(given) > 1 and name.casefold().startswith(given):  # alib -> alibi
            likeness[name] += 0.5
    best = max(likeness.values(), default=0.0)
    near = [name for name, ratio in likeness.items() if ratio >= max(0.55, best - 0.1)]
    return sorted(near, key=lambda name: -likeness[name])[:2]


def key_meant(given: str) -> str | None:
    """The key that another trainer calls `given`: `learning_rate` -> `optim.lr`."""
    return {_plain(alias): key for alias, key in KEYS.items()}.get(_plain(given))


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.casefold())

"""What a user meant by a name: other spellings, the papers' names, the nearest valid names."""

import difflib
import re
from collections.abc import Iterable, Mapping

# Names in papers and other libraries, separated by spaces. Case and separators do not matter.
PAPERS = {
    "scheme": {
        "learned": "absolute ape learned-absolute learned-positions",
        "sinusoidal": "sinusoid sinusoids vaswani",
        "rope": "rotary rotary-embedding roformer",
        "t5_bias": "t5 t5-rpe relative-bias bucketed",
        "kerple_log": "kerple",
        "shaw": "relative",
        "randomised": "randomized",
        "fox": "forgetting-transformer",
        "none": "nope no-pe no-positions no-positional-encoding",
    },
    "modifier": {"window": "sliding-window swa", "ssmax": "scalable-softmax"},
    "retrofit": {"position_interpolation": "pi linear", "ntk": "ntk-aware"},
    "dataset": {"wikitext103": "wikitext", "python": "stdlib", "fineweb_edu": "fineweb"},
    "tokenizer": {"bytes": "byte"},
    "optim": {"adamw": "adam"},
}
# Names of keys in other trainers.
KEYS = {
    "steps": "epochs max-steps iterations iters max-iters",
    "batch_size": "batch bs",
    "accumulate": "grad-accum gradient-accumulation-steps",
    "train_length": "context context-length seq-len max-seq-len sequence-length"
    " block-size max-length",
    "precision": "dtype",
    "device": "gpu",
    "results": "output-dir",
    "tracking": "wandb",
    "dataset": "data",
    "scheme": "pe position positional-encoding method",
    "optim.lr": "learning-rate",
    "evaluation.lengths": "eval-lengths lengths",
    "model.n_layers": "layers n-layer num-layers depth",
    "model.n_heads": "heads n-head num-heads",
    "model.width": "d-model dim n-embd hidden-size",
}


def same_name(word: str, known: Iterable[str], group: str = "") -> str | None:
    """The name in `known` of which `word` is another spelling or a paper's: `ALiBi`, `T5`."""
    spelled = {_plain(name): name for name in known}
    meant = _by_alias(PAPERS.get(group, {})).get(_plain(word))
    return spelled.get(_plain(word)) or (meant if meant in spelled.values() else None)


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """At most two names of `known` that `word` may mean, the best first; [] if none is similar."""
    known = list(known)
    if same := same_name(word, known):
        return [same]
    word = word.casefold()
    similarity = {}
    for name in known:
        similarity[name] = difflib.SequenceMatcher(None, word, name.casefold()).ratio()
        if len(word) > 1 and name.casefold().startswith(word):  # alib -> alibi
            similarity[name] += 0.5
    best = max(similarity.values(), default=0.0)
    near = [name for name, ratio in similarity.items() if ratio >= max(0.55, best - 0.1)]
    return sorted(near, key=lambda name: -similarity[name])[:2]


def key_meant(word: str) -> str | None:
    """The key that has the name `word` in another trainer: `learning_rate` -> `optim.lr`."""
    return _by_alias(KEYS).get(_plain(word))


def _by_alias(names: Mapping[str, str]) -> dict[str, str]:
    return {_plain(alias): name for name, aliases in names.items() for alias in aliases.split()}


def _plain(name: str) -> str:
    return re.sub(r"[^0-9a-z]", "", name.casefold())

"""Loss sums of the same documents by lm-evaluation-harness (`lm_eval`) and by lengthgen.

The harness reads an exported folder through HFLM, as its users do; lengthgen reads the run. A
document is lengthgen's tokens, of which the first is the one that begins every document: the
harness calls that the prefix token, and puts it there itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from lengthgen.evaluation import planners, scoring
from lengthgen.evaluation.planners import Amounts, Span
from lengthgen.runs.loading import LoadedRun

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Sums:
    """One convention on some documents: (D,) each, in nats, tokens, and tokens of context."""

    loss: np.ndarray
    tokens: np.ndarray
    context: np.ndarray  # summed over targets: how many tokens each was predicted from

    @property
    def per_token(self) -> float:
        return float(self.loss.sum() / self.tokens.sum())

    @property
    def mean_context(self) -> float:
        return float(self.context.sum() / self.tokens.sum())


def harness(folder: Path, max_length: int, **options: Any) -> Any:
    """lm_eval's HFLM of an exported folder, on one CPU thread's batch of windows at a time."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(
        pretrained=str(folder), device="cpu", dtype="float32", max_length=max_length,
        batch_size=8, **options,
    )  # fmt: skip


def rolling(lm: Any, texts: Sequence[str]) -> np.ndarray:
    """(D,): loss of each text by `loglikelihood_rolling`, the task type of perplexities."""
    from lm_eval.api.instance import Instance

    requests = [
        Instance("loglikelihood_rolling", {}, (text,), number) for number, text in enumerate(texts)
    ]
    return -np.array(lm.loglikelihood_rolling(requests, disable_tqdm=True))


def windows_of(lm: Any, text: str, context_len: int) -> list[tuple[list[int], list[int]]]:
    """The harness's windows of a text: (context, predicted), the two together are read."""
    from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

    windows = get_rolling_token_windows(
        lm.tok_encode(text), lm.prefix_token_id, lm.max_length, context_len
    )
    return [make_disjoint_window(window) for window in windows]


def by_harness(lm: Any, texts: Sequence[str], context_len: int = 1) -> Sums:
    """Its windows with at least `context_len` tokens before a target (of all but the first).

    1: what `loglikelihood_rolling` does; the harness has no option for more.
    """
    sums = []
    for text in texts:
        windows = windows_of(lm, text, context_len)
        scored = lm._loglikelihood_tokens(
            [(("", ""), *window) for window in windows], disable_tqdm=True
        )
        context = [len(c) + i for c, predicted in windows for i in range(len(predicted))]
        sums.append((-sum(loss for loss, _ in scored), len(context), sum(context)))
    return Sums(*np.array(sums, dtype=np.float64).T)


def by_lengthgen(
    run: LoadedRun, documents: Sequence[int], n: int, protocol: str, length: int, stride: int
) -> Sums:
    """A protocol of lengthgen over the first n targets of validation documents.

    The windows begin with the document. nonoverlapping leaves out what fills no window; stride:
    the targets of a later sliding window, and of every matched one.
    """
    covered = n // length * length if protocol == "nonoverlapping" else n
    ends = tuple(range(length, n + 1, stride)) if protocol == "matched" else (covered,)
    spans = [Span(document, ends) for document in documents]
    amounts = Amounts(train_length=length, block=stride, stride=stride, last_k=stride)
    request = planners.requests(protocol, spans, [length, max(length, covered)], amounts)[0]
    (scored,) = scoring.score(
        run.model, run.data.validation, [request], tokens_per_batch=None, device=CPU
    )
    assert scored.losses is not None, scored.reason
    sums = np.zeros((3, len(documents)))
    for window, losses in zip(request.windows, scored.losses, strict=True):
        context = np.arange(window.first, window.stop) + 1
        sums[:, list(documents).index(window.document)] += (
            losses.sum(dtype=np.float64), losses.size, context.sum()
        )  # fmt: skip
    return Sums(*sums)


def documents_of(run: LoadedRun, count: int, n: int) -> tuple[list[int], list[str]]:
    """The first `count` validation documents of n targets or more, and the text of these targets.

    ASCII alone, so that no cut falls inside a character.
    """
    chosen, texts = [], []
    for number in range(run.data.validation.n_documents):
        ids = run.data.validation.document(number)[1 : n + 1].tolist()
        text = run.tokenizer.decode(ids)
        if len(ids) == n and text.isascii():
            chosen.append(number)
            texts.append(text.decode())
        if len(chosen) == count:
            return chosen, texts
    raise SystemExit(f"{len(chosen)} documents of {n} tokens; expected {count}")

"""Run folders as train and evaluate leave them, with invented but realistic losses.

For the tests of tables and figures.
"""

import zlib
from pathlib import Path

import numpy as np

from lengthgen import files
from lengthgen.evaluation import records
from lengthgen.statistics.losses import Losses

RATIOS = (0.5, 1, 1.25, 1.5, 2, 3, 4)
# Change of the loss (nats) at r times the training length, r > 1.
BEYOND = {
    "t5_bias": lambda r: -0.012 * np.log2(r),
    "alibi": lambda r: -0.018 * np.log2(r),
    "none": lambda r: 0.35 * np.log2(r) ** 1.5,
    "rope": lambda r: 0.9 * np.log2(r),
    "sinusoidal": lambda r: 1.1 + 0.5 * np.log2(r),
    "learned(tail=clamp)": lambda r: 2.4 + 0.1 * np.log2(r),
    "learned": None,  # refuses
}


def write_run(
    results: Path, scheme: str, seed: int, *, train_length: int = 512, n_documents: int = 40,
    setting: str = "1e234567", evaluation: str = "00123456", steps: int = 3000, model: str = "tiny",
    dataset: str = "python", name: str = "",
) -> Path:  # fmt: skip
    """One finished run folder with one finished evaluation; returns the run folder."""
    label = scheme.replace("(", "-").replace(")", "")
    name = name or f"{label}-{train_length}-s{seed}-{setting}"
    folder = results / "runs" / name
    identity = dict(
        run=name, scheme=scheme, dataset=dataset, model=model, seed=seed, train_length=train_length,
        steps=steps, setting=setting,
        evaluation=evaluation,
    )  # fmt: skip
    generator = np.random.default_rng([seed, zlib.crc32(scheme.encode())])
    shared = np.random.default_rng(train_length)  # documents are the same text for every run
    hardness, tokens = (
        shared.normal(0, 0.22, n_documents),
        128 * shared.integers(2, 60, n_documents),
    )
    base = 1.45 + 0.03 * (zlib.crc32(scheme.encode()) % 5) + generator.normal(0, 0.012)
    bend = generator.normal(1, 0.15)
    lengths, documents = [], []
    for protocol in ("matched", "nonoverlapping"):
        totals = {}
        for length in (round(ratio * train_length) for ratio in RATIOS):
            row = dict(
                **identity,
                eval_length=length,
                protocol=protocol,
                dtype="fp32",
                n_tokens=0,
                n_documents=0,
            )
            beyond = BEYOND.get(scheme, BEYOND["t5_bias"])
            if length > train_length and beyond is None:
                reason = (
                    f"learned positions exist for 0..{train_length - 1} and tail=refuse; "
                    "choose scheme.tail=clamp, wrap or resample"
                )
                lengths.append(
                    row
                    | dict(
                        metric="loss",
                        value=None,
                        low=None,
                        high=None,
                        status="refused",
                        reason=reason,
                    )
                )
                continue
            change = (
                beyond(length / train_length) * bend
                if length > train_length
                else 0.05 * np.log2(train_length / length)
            )
            early = 0.4 * (64 / length) if protocol == "nonoverlapping" else 0.0
            loss = base + change + early + hardness + generator.normal(0, 0.004, n_documents)
            totals[length] = (loss * tokens, tokens)
            documents += [
                dict(**identity, eval_length=length, protocol=protocol,
                document=f"lib/module_{d:03}.py", loss_sum=loss[d] * tokens[d],
                     n_tokens=int(tokens[d]), n_bytes=int(tokens[d]), floor_sum=None,
                     bigram_sum=None)
                for d in range(n_documents)
            ]  # fmt: skip
        losses = Losses.numbered(
            *(np.stack([t[part] for t in totals.values()])[None].astype(float) for part in (0, 1))
        )
        found = {
            "loss": losses.means(),
            "loss_change": losses.changes(list(totals).index(train_length)),
        }
        for metric, means in found.items():
            for length, value, low, high in zip(
                totals, means.value, means.low, means.high, strict=True
            ):
                row = dict(
                    **identity,
                    eval_length=length,
                    protocol=protocol,
                    metric=metric,
                    value=value,
                    low=low,
                    high=high,
                )
                lengths.append(
                    row
                    | dict(
                        n_tokens=int(tokens.sum()),
                        n_documents=n_documents,
                        dtype="fp32",
                        status="ok",
                        reason="",
                    )
                )
    here = folder / "evaluation" / evaluation
    files.write_table(here / "lengths.csv", lengths, records.LENGTHS)
    files.write_table(here / "documents.csv", documents, records.DOCUMENTS)
    files.write_table(
        here / "positions.csv", _positions(identity, base, bend, n_documents), records.POSITIONS
    )
    files.write_json(here / "settings.json", {"lengths": list(RATIOS)})
    config = (
        f"seed: {seed}\ntrain_length: {train_length}\nscheme:\n  name: {scheme.partition('(')[0]}\n"
    )
    files.write_text(folder / "config.yaml", config)
    command = f"lengthgen train scheme={scheme} seed={seed}"
    provenance = {
        "command": command,
        "commit": "c0ffee",
        "versions": {"torch": "2.13.0"},
        "device": "cpu",
        "threads": 2,
    }
    files.write_json(folder / "provenance.json", provenance)
    files.write_json(folder / "done.json", {"status": "done"})
    return folder


def write_runs(
    results: Path, schemes=("t5_bias", "alibi", "learned"), seeds=(0, 1, 2), **options
) -> None:
    """Every scheme with every seed."""
    for scheme in schemes:
        for seed in seeds:
            write_run(results, scheme, seed, **options)


def _positions(identity: dict, base: float, bend: float, n_documents: int) -> list[dict]:
    train_length, beyond = (
        identity["train_length"],
        BEYOND.get(identity["scheme"], BEYOND["t5_bias"]),
    )
    window = train_length if beyond is None else 4 * train_length
    rows = []
    for position in range(0, window, train_length // 16):
        end = position + train_length // 16
        middle = (position + end) / 2
        value = (
            base
            + 1.1 / (1 + middle / 8)
            + (bend * beyond(middle / train_length) if middle > train_length else 0.0)
        )
        rows.append(
            dict(**identity, eval_length=window, position=position, position_end=end, value=value,
            low=value - 0.07, high=value + 0.07,
                 n_tokens=3000, n_documents=n_documents)
        )  # fmt: skip
    return rows

"""A small results folder for the tests of `lengthgen report`: published runs, a study, costs."""

from pathlib import Path

from lengthgen import files
from lengthgen.reporting import publish
from lengthgen.studies import study_folder

from .fake_runs import write_run

SCHEMES = ("learned", "rope", "t5_bias", "alibi")
CLAIM = {
    "study": "far", "name": "rope_fails", "claim": "RoPE loses more than 0.3 nats at 2 L",
    "primary": True, "measure": "change", "subject": "text_rope", "baseline": "",
    "length_factor": 2.0, "protocol": "", "predict": "above 0.3", "check": False, "gate": "",
    "value": 0.9, "low": 0.7, "high": 1.1, "p": 0.001, "detectable": 0.1, "n_seeds": 3,
    "n_documents": 40, "verdict": "supported", "reason": "",
}  # fmt: skip


def write_results(results: Path, seeds: int = 4) -> Path:
    """Runs, `main` published of them, a study `far`, and a benchmark. Returns the folder."""
    for scheme in SCHEMES:
        for seed in range(seeds):
            write_run(results, scheme, seed)
    publish.publish(results, "main", {"train_length": ["512"]}, "Four schemes.")
    write_study(results)
    folder = results / "bench_small"
    columns = ("bench", "candidate", "status", "tokens_per_second", "of_none", "tokens")
    rows = [dict(zip(columns, ("train", "none", "ok", 1234.5, 1.0, 4096), strict=True))]
    files.write_table(folder / "train.csv", rows, columns)
    files.write_json(folder / "train.json", {"command": "lengthgen bench train", "device": "cpu"})
    return results


def write_study(results: Path, **changed: object) -> None:
    about = {
        "name": "far", "meaning": "Does RoPE hold?", "claim": "It does not.", "check": False,
        "command": "lengthgen study far", "arms": {"text_rope": ["scheme=rope", "steps=9"]},
        "runs": ["rope-1"], "commits": ["c0ffee"], "devices": ["cpu"], "threads": [1],
        "registration": None,
    }  # fmt: skip
    study_folder.write(results / "studies" / "far", {"claims": [CLAIM | changed]}, about)

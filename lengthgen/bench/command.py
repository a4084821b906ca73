"""The command `lengthgen bench`: its arguments, and what each kind of benchmark runs.

    lengthgen bench train --threads 1                    tokens/s of training, every scheme against none
    lengthgen bench train --peers --out results/bench    beside a plain GPT, x-transformers and transformers
    lengthgen bench evaluate                             tokens/s of evaluation, one grid against separate passes (P7)
    lengthgen bench attention                            the attention call alone (P1-P3, P8-P10)
    lengthgen bench share                                what an evaluation takes of a default run (E1)
    lengthgen bench memory --tokens 32768                peak memory of evaluating one long document
    lengthgen bench marks                                all pass marks in one table

The process settings are those of a run (process.py), for peers as well. Only where other libraries take part malloc stays as it comes, for
them and for us: kept memory is lengthgen's own doing, and it spares attention that writes matrices of length x length half of its time.
Device and precision are a run's: CUDA with bfloat16 autocast where there is one. The CUDA side (synchronised wall time, torch's own peak
memory) was written without a GPU at hand.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lengthgen import schemes
from lengthgen.config import command_line
from lengthgen.runs import process

MEMORY_LIMIT = 1.5  # times what `none` needs (issue 3)


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive integer")
    return value


def parser() -> argparse.ArgumentParser:
    found = command_line.Parser(
        prog="lengthgen bench", description=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    add = found.add_argument
    add("what", nargs="?", choices=tuple(KINDS), default="train", help="default: train")
    add(
        "--schemes",
        default="",
        metavar="A,B",
        help="default: all (marks: those that it needs); `none` is always there",
    )
    add(
        "--peers",
        action="store_true",
        help="train: a plain GPT, and x-transformers and transformers where they are installed",
    )
    add("--layers", type=_positive, default=6)
    add("--width", type=_positive, default=256)
    add("--heads", type=_positive, default=8)
    add("--length", type=_positive, default=512, help="tokens in a training window")
    add("--batch", type=_positive, default=8, help="windows in a training step")
    add("--vocab", type=_positive, default=257)
    add("--rounds", type=_positive, default=7, help="each candidate is measured once a round")
    add("--threads", type=_positive, help="CPU threads; default: torch's own choice")
    add(
        "--clock",
        choices=("auto", "wall", "cpu"),
        default="auto",
        help="what counts; auto: CPU time on one CPU thread, else wall time",
    )
    add("--device", choices=("auto", "cpu", "cuda"), default="auto")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="auto: bf16 on CUDA, fp32 on CPU",
    )
    add(
        "--kernel",
        default="auto",
        metavar="NAME",
        help="attention kernel of our models: auto, or cpu, sdpa, flex, reference",
    )
    add(
        "--linear",
        default="auto",
        metavar="NAME",
        help="what multiplies our activations and weights: auto, or torch, onednn",
    )
    add(
        "--compile",
        action="store_true",
        help="train: torch.compile our models, as compile=true does in a run",
    )
    add("--documents", type=_positive, default=1, help="evaluate: documents in one evaluation")
    add("--tokens", type=_positive, default=32768, help="memory: tokens of the document")
    add(
        "--scale",
        type=_positive,
        default=1,
        metavar="N",
        help="attention, share: divide every length by N; nothing is then judged",
    )
    add(
        "--seconds",
        type=float,
        default=0.2,
        help="shorter calls are repeated until one measurement takes so long",
    )
    add(
        "--out",
        type=Path,
        metavar="FOLDER",
        help="write CSV, Markdown, PNG and SVG there; default: print only",
    )
    return found


def main(argv: Sequence[str]) -> int:
    """Run one benchmark; the exit code is 0 whatever it measured."""
    options = parser().parse_args(list(argv))
    process.prepare_environment()
    process.prepare_torch(options.threads)
    if not options.peers and options.what not in ("attention", "marks"):
        process.keep_memory()
    from lengthgen.bench import environment, measuring, workload

    where = workload.place(options.device, options.precision, options.kernel, options.linear)
    shape = workload.Shape(
        **{
            name: getattr(options, name)
            for name in ("layers", "width", "heads", "length", "batch", "vocab")
        }
    )
    clock = measuring.clock_for(options.clock, where.device)
    session = Session(
        options, shape, where, clock, environment.before(where, clock), time.perf_counter()
    )
    for line in environment.lines(session.facts):
        print(line, flush=True)
    KINDS[options.what](session)
    return 0


@dataclass(frozen=True)
class Session:
    """What every benchmark of one command shares."""

    options: argparse.Namespace
    shape: Any
    where: Any
    clock: str
    facts: dict[str, Any]
    began: float

    def schemes(self, default: Sequence[str] = ()) -> list[str]:
        """The schemes asked for, `none` first. ConfigError for a name that is no scheme."""
        given = (
            [name for name in self.options.schemes.split(",") if name]
            or list(default)
            or schemes.names()
        )
        for name in given:
            schemes.source(name)
        return ["none", *(name for name in dict.fromkeys(given) if name != "none")]

    @property
    def at_marked_shape(self) -> bool:
        """Whether this is the shape that the pass marks speak of; at another one nothing is judged."""
        return self.shape == type(self.shape)()

    def interleave(self, candidates: Sequence) -> Any:
        from lengthgen.bench import measuring

        return measuring.interleave(
            candidates, self.options.rounds, self.where.device, self.clock, self.options.seconds
        )

    def report(
        self,
        stem: str,
        rows: list,
        columns: Sequence[str],
        shown: Sequence[str],
        samples: dict | None = None,
        drawn: tuple | None = None,
    ) -> None:
        """Print the table; write it, and the figure `drawn` = (dots, title, axis), if a folder was given."""
        from lengthgen.bench import environment, report

        facts = environment.after(self.facts, self.began)
        print(f"\n{report.markdown(rows, shown)}\n")
        print(
            f"load {facts['load_before']} before, {facts['load_after']} after; {facts['seconds']:.0f} s"
        )
        for row in rows:
            if row.get("status", "ok") != "ok":
                print(f"{row['candidate']}: {row['status']}, {row['reason']}")
        if self.options.out is None:
            print("nothing is saved; give --out FOLDER", flush=True)
            return
        written = report.save(
            self.options.out,
            stem,
            rows,
            columns,
            shown,
            facts | {"shape": vars(self.shape)},
            samples,
        )
        if drawn is not None:
            from lengthgen.bench import figure

            dots, title, axis = drawn
            written += figure.write(dots, title, self.subtitle(), axis, self.options.out / stem)
        for path in written:
            print(path, flush=True)

    def subtitle(self) -> str:
        s, facts = self.shape, self.facts
        return (
            f"{s.layers} layers x {s.width}, {s.heads} heads, length {s.length}, batch {s.batch}; {facts['device']}, "
            f"{facts['threads']} thread{'s' * (facts['threads'] != 1)}, {self.where.precision}; "
            f"{self.options.rounds} rounds, {self.clock} time; commit {facts['commit'][:9]}"
        )


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _train(session: Session) -> None:
    from lengthgen.bench import peers, throughput

    others = peers.PEERS if session.options.peers else ()
    measured = _training(session, session.schemes(), others)
    rows = throughput.rows("train", measured, session.shape, session.where)
    _report_throughput(session, "train", rows, {"train": measured})


def _training(session: Session, names: Sequence[str], others: Sequence) -> Any:
    from lengthgen.bench import throughput

    candidates = throughput.training_candidates(
        session.shape, names, session.where, others, session.options.compile, tell
    )
    return session.interleave(candidates)


def _evaluate(session: Session) -> None:
    from lengthgen.bench import marks, throughput

    measured = _evaluating(session, session.schemes())
    rows = throughput.rows("evaluate", measured, session.shape, session.where)
    _report_throughput(session, "evaluate", rows, {"evaluate": measured})
    judged = marks.judge(marks.EVALUATION, {"evaluate": measured}, session.at_marked_shape)
    session.report("evaluate_marks", judged, marks.COLUMNS, marks.COLUMNS)


def _evaluating(session: Session, names: Sequence[str]) -> Any:
    from lengthgen.bench import marks, throughput

    separate = [name for name in names if name in marks.GRID_SCHEMES]
    return session.interleave(
        throughput.evaluation_candidates(
            session.shape, names, session.where, session.options.documents, separate
        )
    )


def _report_throughput(session: Session, stem: str, rows: list, samples: dict) -> None:
    from lengthgen.bench import figure, throughput

    dots = figure.of_throughput(rows) if session.options.out else []
    title = {"train": "Training speed", "evaluate": "Evaluation speed"}.get(
        stem, stem
    ) + " relative to no positional scheme"
    drawn = (dots, title, "tokens/s, relative to `none` (median and quartiles)")
    session.report(stem, rows, throughput.COLUMNS, throughput.SHOWN, samples, drawn)


def _attention(session: Session) -> None:
    from lengthgen.bench import attention, figure, marks

    measured, rows = _attention_groups(session)
    judged = _attention_marks(session, measured)
    columns = attention.COLUMNS
    session.report(
        "attention",
        rows,
        columns,
        [c for c in columns if c not in ("clock", "device", "precision", "threads")],
        measured,
    )
    drawn = (
        figure.of_marks(judged),
        "Attention against its pass marks",
        "time of ours / time of the other",
    )
    session.report("attention_marks", judged, marks.COLUMNS, marks.COLUMNS, drawn=drawn)


def _attention_groups(session: Session) -> tuple[dict, list]:
    from lengthgen.bench import attention

    scale, where = session.options.scale, session.where
    measured, rows = {}, []

    def run(group: attention.Group) -> None:
        measured[group.name] = session.interleave(group.candidates)
        rows.extend(attention.rows(group, measured[group.name], where, scale))

    for shape in attention.TRAINING:
        run(attention.training_group(shape, where, scale))
    for shape in attention.EVALUATION:
        run(attention.evaluation_group(shape, where, scale))
    with attention.crops_group(scale) as group:
        run(group)
    return measured, rows


def _attention_marks(session: Session, measured: dict) -> list:
    from lengthgen.bench import marks, memory

    scale = session.options.scale
    value, reason = memory.attention_ratio(session.where, session.options.threads, scale)
    ratio = None if value is None else (value, None, None)
    return [
        *marks.judge(marks.ATTENTION, measured, scale == 1),
        marks.judge_value(marks.MEMORY, ratio, reason, scale == 1),
    ]


def _share(session: Session) -> None:
    from lengthgen.bench import marks, share

    session = replace(session, shape=share.shape(session.options.scale))
    session.report("share_marks", _shares(session), marks.COLUMNS, marks.COLUMNS)


def _shares(session: Session) -> list:
    from lengthgen.bench import marks, share

    measured = session.interleave(
        share.candidates(session.shape, marks.SHARE_SCHEMES, session.where)
    )
    return share.judge(measured, session.options.scale == 1)


def _memory(session: Session) -> None:
    from lengthgen.bench import figure, memory

    rows = memory.evaluation_rows(
        session.shape,
        session.schemes(),
        session.options.tokens,
        session.where,
        session.options.threads,
        tell,
    )
    title = f"Peak memory of evaluating one document of {session.options.tokens:,} tokens"
    dots = figure.of_memory(rows, MEMORY_LIMIT) if session.options.out else []
    drawn = (dots, title, "memory above the built model, relative to `none`; the bar is the limit")
    session.report("memory", rows, memory.COLUMNS, memory.SHOWN, drawn=drawn)


def _marks(session: Session) -> None:
    from lengthgen.bench import figure, marks, peers, share, throughput

    measured, _ = _attention_groups(session)
    judged = _attention_marks(session, measured)
    longer = replace(session, shape=session.shape.longer())
    measured["train peers"] = _training(
        session, session.schemes(marks.PEER_SCHEMES), [peer for peer in peers.PEERS if peer.package]
    )
    measured["train longer"] = _training(
        longer,
        longer.schemes(marks.LONGER_SCHEMES),
        [peer for peer in peers.PEERS if peer.name in marks.LONGER_PEERS],
    )
    process.keep_memory()
    measured["train"] = _training(
        session, session.schemes(marks.SCHEMES), [peer for peer in peers.PEERS if not peer.package]
    )
    measured["evaluate"] = _evaluating(session, list(marks.GRID_SCHEMES))
    for part, name in (
        (session, "train"),
        (session, "train peers"),
        (longer, "train longer"),
        (session, "evaluate"),
    ):
        rows = throughput.rows(name, measured[name], part.shape, part.where)
        _report_throughput(part, name.replace(" ", "_"), rows, {name: measured[name]})
    judged += marks.judge(
        (*marks.TRAINING, *marks.LONGER, *marks.EVALUATION), measured, session.at_marked_shape
    )
    judged += _shares(replace(session, shape=share.shape(session.options.scale)))
    judged.sort(key=lambda row: (row["mark"][0] != "P", int(row["mark"][1:])))
    drawn = (figure.of_marks(judged), "Pass marks", "ratio; the bar is the pass mark")
    session.report("marks", judged, marks.COLUMNS, marks.COLUMNS, measured, drawn)


KINDS = {
    "train": _train,
    "evaluate": _evaluate,
    "share": _share,
    "attention": _attention,
    "memory": _memory,
    "marks": _marks,
}

"""The command `lengthgen bench`: its arguments, and what each kind of benchmark runs.

    lengthgen bench train --threads 1                  tokens/s of training, every scheme
    lengthgen bench train --peers --out results/bench  beside other libraries and a plain GPT
    lengthgen bench evaluate                           tokens/s of evaluation
    lengthgen bench attention                          the attention call alone, and the batches
    lengthgen bench bias_gradient                      on a GPU: the gradient of a bias
    lengthgen bench share                              what a run's evaluation takes of its time
    lengthgen bench memory --tokens 32768              peak memory of evaluating a long document
    lengthgen bench marks                              all pass marks in one table

The process has the settings of a run, for peers as well, with one exception: beside other libraries
nobody keeps freed memory. Keeping it is lengthgen's doing, and it halves the time of attention that
writes matrices of length x length. Device and precision are those of a run: CUDA with bfloat16
autocast where there is one, with synchronised wall time and torch's peak memory.
"""

import argparse
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lengthgen import schemes
from lengthgen.config import command_line
from lengthgen.runs import process

if TYPE_CHECKING:  # they import torch, which --help does not need
    from lengthgen.bench.attention import Group
    from lengthgen.bench.figure import Dot
    from lengthgen.bench.measuring import Candidate, Measured
    from lengthgen.bench.peers import Peer
    from lengthgen.bench.workload import Place, Shape

MEMORY_LIMIT = 1.5  # times what `none` needs


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a positive integer")
    return value


def parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(
        prog="lengthgen bench",
        description=__doc__.partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )

    def add(name: str, default: Any = None, help: str | None = None, **how: Any) -> None:
        parser.add_argument(name, default=default, help=help, **how)

    def number(name: str, default: int | None, help: str | None = None) -> None:
        add(name, default, help, type=_positive, metavar="N")

    add("what", "train", "default: train", nargs="?", choices=tuple(KINDS))
    add("--schemes", "", "default: all (marks: its own); `none` is always there", metavar="A,B")
    add("--peers", False, "train: beside other libraries and a plain GPT", action="store_true")
    number("--layers", 6)
    number("--width", 256)
    number("--heads", 8)
    number("--length", 512, "tokens in a training window")
    number("--batch", 8, "windows in a training step")
    number("--vocab", 257)
    number("--rounds", 7, "each candidate is measured once a round")
    number("--threads", None, "CPU threads; default: torch's own choice")
    add(
        "--clock",
        "auto",
        "what counts; auto: CPU time on one CPU thread, else wall time",
        choices=("auto", "wall", "cpu"),
    )
    add("--device", "auto", choices=("auto", "cpu", "cuda"))
    add("--precision", "auto", "auto: bf16 on CUDA, fp32 on CPU", choices=("auto", "fp32", "bf16"))
    add(
        "--kernel", "auto", "our attention kernel: auto, cpu, sdpa, flex, reference", metavar="NAME"
    )
    add("--linear", "auto", "our products with weights: auto, torch, onednn", metavar="NAME")
    add("--compile", False, "train: torch.compile our losses, as a run does", action="store_true")
    number("--documents", 1, "evaluate: documents in one evaluation")
    number("--tokens", 32768, "memory: tokens of the document")
    number("--scale", 1, "attention, bias_gradient, share: divide lengths by N, and judge nothing")
    add("--seconds", 0.2, "repeat shorter calls until a measurement takes so long", type=float)
    add(
        "--out",
        help="write CSV, Markdown, PNG and SVG there; default: print only",
        type=Path,
        metavar="FOLDER",
    )
    return parser


def main(argv: Sequence[str]) -> int:
    """Run one benchmark; the exit code is 0 whatever it measured."""
    options = parser().parse_args(list(argv))
    process.prepare_environment()
    process.prepare_torch(options.threads)
    if not options.peers and options.what not in ("attention", "bias_gradient", "marks"):
        process.keep_memory()
    from lengthgen.bench import environment, measuring, workload

    where = workload.place(options.device, options.precision, options.kernel, options.linear)
    shape = workload.Shape(
        options.layers, options.width, options.heads, options.length, options.batch, options.vocab
    )
    clock = measuring.clock_for(options.clock, where.device)
    facts = environment.before(where, clock)
    session = Session(options, shape, where, clock, facts, time.perf_counter())
    for line in environment.lines(session.facts):
        print(line, flush=True)
    KINDS[options.what](session)
    return 0


@dataclass(frozen=True)
class Session:
    """What every benchmark of one command shares."""

    options: argparse.Namespace
    shape: "Shape"
    where: "Place"
    clock: str
    facts: dict[str, Any]
    began: float

    def schemes(self, default: Sequence[str] = ()) -> list[str]:
        """The schemes asked for, `none` first. ConfigError for a name that is no scheme."""
        names = [name for name in self.options.schemes.split(",") if name]
        names = names or list(default) or schemes.names()
        for name in names:
            schemes.source(name)
        return list(dict.fromkeys(["none", *names]))

    @property
    def at_marked_shape(self) -> bool:
        """Whether the pass marks are about this shape; at another one nothing is judged."""
        return self.shape == type(self.shape)()

    def interleave(self, candidates: "Sequence[Candidate]") -> "Measured":
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
        samples: "Mapping[str, Measured] | None" = None,
        drawn: "tuple[list[Dot], str, str] | None" = None,
    ) -> None:
        """Print the table; under --out write it and the figure `drawn` = (dots, title, axis)."""
        from lengthgen.bench import environment, report

        facts = environment.after(self.facts, self.began)
        print(f"\n{report.on_screen(rows, shown)}\n")
        load = f"load {facts['load_before']} before, {facts['load_after']} after"
        print(f"{load}; {facts['seconds']:.0f} s")
        for row in rows:
            if row.get("status", "ok") != "ok":
                print(f"{row['candidate']}: {row['status']}, {row['reason']}")
        folder = self.options.out
        if folder is None:
            print("nothing is saved; give --out FOLDER", flush=True)
            return
        facts |= {"shape": vars(self.shape)}
        written = report.save(folder, stem, rows, columns, shown, facts, samples)
        if drawn is not None:
            from lengthgen.bench import figure

            dots, title, axis = drawn
            written += figure.write(dots, title, self.subtitle(), axis, folder / stem)
        for path in written:
            print(path, flush=True)

    def subtitle(self) -> str:
        s, facts = self.shape, self.facts
        return (
            f"{s.layers} layers x {s.width}, {s.heads} heads, length {s.length}, batch {s.batch}; "
            f"{facts['device']}, {facts['threads']} thread{'s' * (facts['threads'] != 1)}, "
            f"{self.where.precision}; {self.options.rounds} rounds, {self.clock} time; "
            f"commit {facts['commit'][:9]}"
        )


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _train(session: Session) -> None:
    from lengthgen.bench import peers, throughput

    others = peers.PEERS if session.options.peers else ()
    measured = _training(session, session.schemes(), others)
    rows = throughput.rows("train", measured, session.shape, session.where)
    _report_throughput(session, "train", rows, {"train": measured})


def _training(session: Session, names: Sequence[str], others: "Sequence[Peer]") -> "Measured":
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


def _evaluating(session: Session, names: Sequence[str]) -> "Measured":
    from lengthgen.bench import marks, throughput

    separate = [name for name in names if name in marks.GRID_SCHEMES]
    candidates = throughput.evaluation_candidates(
        session.shape, names, session.where, session.options.documents, separate
    )
    return session.interleave(candidates)


def _report_throughput(
    session: Session, stem: str, rows: list, samples: "dict[str, Measured]"
) -> None:
    from lengthgen.bench import figure, throughput

    dots = figure.of_throughput(rows) if session.options.out else []
    speed = {"train": "Training speed", "evaluate": "Evaluation speed"}.get(stem, stem)
    title = f"{speed} relative to no positional scheme"
    drawn = (dots, title, "tokens/s, relative to `none` (median and quartiles)")
    session.report(stem, rows, throughput.COLUMNS, throughput.SHOWN, samples, drawn)


def _attention(session: Session) -> None:
    from lengthgen.bench import figure, marks

    measured, rows = _attention_groups(session)
    judged = _attention_marks(session, measured)
    _report_groups(session, "attention", rows, measured)
    drawn = (
        figure.of_marks(judged),
        "Attention and its pass marks",
        "time of ours / time of the other",
    )
    session.report("attention_marks", judged, marks.COLUMNS, marks.COLUMNS, drawn=drawn)


def _bias_gradient(session: Session) -> None:
    from lengthgen.bench import bias_gradient

    where, scale = session.where, session.options.scale
    groups = (bias_gradient.group(shape, where, scale) for shape in bias_gradient.SHAPES)
    measured, rows = _measured_groups(session, groups)
    _report_groups(session, "bias_gradient", rows, measured)


def _report_groups(
    session: Session, stem: str, rows: list, measured: "dict[str, Measured]"
) -> None:
    from lengthgen.bench import attention

    settings = ("clock", "device", "precision", "threads")
    shown = [column for column in attention.COLUMNS if column not in settings]
    session.report(stem, rows, attention.COLUMNS, shown, measured)


def _attention_groups(session: Session) -> "tuple[dict[str, Measured], list]":
    from lengthgen.bench import attention

    return _measured_groups(session, attention.groups(session.where, session.options.scale))


def _measured_groups(
    session: Session, groups: "Iterable[Group]"
) -> "tuple[dict[str, Measured], list]":
    from lengthgen.bench import attention

    measured: dict[str, Measured] = {}
    rows: list[dict[str, Any]] = []
    for group in groups:
        measured[group.name] = session.interleave(group.candidates)
        rows += attention.rows(group, measured[group.name], session.where, session.options.scale)
    return measured, rows


def _attention_marks(session: Session, measured: "dict[str, Measured]") -> list:
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

    candidates = share.candidates(session.shape, marks.SHARE_SCHEMES, session.where)
    return share.judge(session.interleave(candidates), session.options.scale == 1)


def _memory(session: Session) -> None:
    from lengthgen.bench import figure, memory

    tokens, threads = session.options.tokens, session.options.threads
    rows = memory.evaluation_rows(
        session.shape, session.schemes(), tokens, session.where, threads, tell
    )
    title = f"Peak memory of evaluating one document of {tokens:,} tokens"
    dots = figure.of_memory(rows, MEMORY_LIMIT) if session.options.out else []
    drawn = (dots, title, "memory above the built model, relative to `none`; the bar is the limit")
    session.report("memory", rows, memory.COLUMNS, memory.SHOWN, drawn=drawn)


def _marks(session: Session) -> None:
    from lengthgen.bench import figure, marks, peers, share, throughput

    measured, _ = _attention_groups(session)
    judged = _attention_marks(session, measured)
    longer = replace(session, shape=session.shape.longer())
    plain, packaged, longer_peers = (
        [peer for peer in peers.PEERS if belongs(peer)]
        for belongs in (
            lambda peer: not peer.package,
            lambda peer: peer.package,
            lambda peer: peer.name in marks.LONGER_PEERS,
        )
    )
    measured["train peers"] = _training(session, session.schemes(marks.PEER_SCHEMES), packaged)
    measured["train longer"] = _training(longer, longer.schemes(marks.LONGER_SCHEMES), longer_peers)
    # Only from here on: beside other libraries nobody keeps freed memory.
    process.keep_memory()
    measured["train"] = _training(session, session.schemes(marks.SCHEMES), plain)
    measured["evaluate"] = _evaluating(session, list(marks.GRID_SCHEMES))
    for name in ("train", "train peers", "train longer", "evaluate"):
        part = longer if name == "train longer" else session
        rows = throughput.rows(name, measured[name], part.shape, part.where)
        _report_throughput(part, name.replace(" ", "_"), rows, {name: measured[name]})
    of_models = (*marks.TRAINING, *marks.LONGER, *marks.EVALUATION)
    judged += marks.judge(of_models, measured, session.at_marked_shape)
    judged += _shares(replace(session, shape=share.shape(session.options.scale)))
    drawn = (figure.of_marks(judged), "Pass marks", "ratio; the bar is the pass mark")
    session.report("marks", judged, marks.COLUMNS, marks.COLUMNS, measured, drawn)


KINDS = {
    "train": _train,
    "evaluate": _evaluate,
    "share": _share,
    "attention": _attention,
    "bias_gradient": _bias_gradient,
    "memory": _memory,
    "marks": _marks,
}

"""What each kind of `lengthgen bench` measures and reports."""

import argparse
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from lengthgen import schemes
from lengthgen.bench import (
    attention,
    decode,
    environment,
    figure,
    marks,
    measuring,
    memory,
    peers,
    report,
    share,
    throughput,
    together,
    workload,
)
from lengthgen.bench.measuring import Measured
from lengthgen.runs import process

MEMORY_LIMIT = 1.5  # times what `none` needs
Rows = list[dict[str, Any]]


def run(options: argparse.Namespace) -> None:
    """The benchmark `options.what`, one of command.KINDS."""
    where = workload.place(options.device, options.precision, options.kernel, options.linear)
    shape = workload.Shape(**{name: getattr(options, name) for name in workload.SIZES})
    clock = measuring.clock_for(options.clock, where.device)
    facts = environment.before(where, clock)
    session = Session(options, shape, where, clock, facts, time.perf_counter())
    for line in environment.lines(facts):
        print(line, flush=True)
    KINDS[options.what](session)


@dataclass(frozen=True)
class Session:
    """What every benchmark of one command shares."""

    options: argparse.Namespace
    shape: workload.Shape
    where: workload.Place
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
        return self.shape == workload.Shape()

    def interleave(self, candidates: Sequence[measuring.Candidate]) -> Measured:
        return measuring.interleave(
            candidates, self.options.rounds, self.where.device, self.clock, self.options.seconds
        )

    def report(
        self,
        stem: str,
        rows: Rows,
        columns: Sequence[str] = marks.COLUMNS,
        shown: Sequence[str] = marks.COLUMNS,
        samples: Mapping[str, Measured] | None = None,
        drawn: tuple[list[figure.Dot], str, str] | None = None,
    ) -> None:
        """Print the table; under --out write it and the figure `drawn` = (dots, title, axis)."""
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
            dots, title, axis = drawn
            written += figure.write(dots, title, self.subtitle(), axis, folder / stem)
        for path in written:
            print(path, flush=True)

    def subtitle(self) -> str:
        s, facts = self.shape, self.facts
        batch = "" if self.options.what == "decode" else f", batch {s.batch}"  # it has its own
        return (
            f"{s.layers} layers x {s.width}, {s.heads} heads, length {s.length}{batch}; "
            f"{facts['device']}, {facts['threads']} thread{'s' * (facts['threads'] != 1)}, "
            f"{self.where.precision}; {self.options.rounds} rounds, {self.clock} time; "
            f"commit {facts['commit'][:9]}"
        )


def _train(session: Session) -> None:
    others = peers.PEERS if session.options.peers else ()
    _report_throughput(session, "train", _training(session, session.schemes(), others))


def _training(session: Session, names: Sequence[str], others: Iterable[peers.Peer]) -> Measured:
    compiled = session.options.compile
    return session.interleave(
        throughput.training_candidates(session.shape, names, session.where, others, compiled)
    )


def _evaluate(session: Session) -> None:
    measured = _evaluating(session, session.schemes())
    _report_throughput(session, "evaluate", measured)
    judged = marks.judge(marks.EVALUATION, {"evaluate": measured}, session.at_marked_shape)
    session.report("evaluate_marks", judged)


def _evaluating(session: Session, names: Sequence[str]) -> Measured:
    separate = [name for name in names if name in marks.GRID_SCHEMES]
    documents = session.options.documents
    return session.interleave(
        throughput.evaluation_candidates(session.shape, names, session.where, documents, separate)
    )


def _report_throughput(session: Session, bench: str, measured: Measured) -> None:
    rows = throughput.rows(bench, measured, session.shape, session.where)
    stem = bench.replace(" ", "_")
    speed = {"train": "Training speed", "evaluate": "Evaluation speed"}.get(stem, stem)
    title = f"{speed} relative to no positional scheme"
    axis = "tokens/s, relative to `none` (median and quartiles)"
    drawn = (figure.of_throughput(rows), title, axis)
    session.report(stem, rows, throughput.COLUMNS, throughput.SHOWN, {bench: measured}, drawn)


def _attention(session: Session) -> None:
    measured, rows = _attention_groups(session)
    judged = _attention_marks(session, measured)
    _report_groups(session, "attention", measured, rows)
    title, axis = "Attention and its pass marks", "time of ours / time of the other"
    session.report("attention_marks", judged, drawn=(figure.of_marks(judged), title, axis))


def _bias_gradient(session: Session) -> None:
    # Loads torch's compiler, which takes seconds.
    from lengthgen.bench import bias_gradient

    options, where = session.options, session.where
    shapes = bias_gradient.SHAPES[: options.shapes]
    tiles = options.tiles or bias_gradient.TILES
    groups = (bias_gradient.group(shape, where, options.scale, tiles) for shape in shapes)
    _report_groups(session, "bias_gradient", *_measured_groups(session, groups))


def _report_groups(session: Session, stem: str, measured: dict[str, Measured], rows: Rows) -> None:
    settings = ("clock", "device", "precision", "threads")
    shown = [column for column in attention.COLUMNS if column not in settings]
    session.report(stem, rows, attention.COLUMNS, shown, measured)


def _attention_groups(session: Session) -> tuple[dict[str, Measured], Rows]:
    return _measured_groups(session, attention.groups(session.where, session.options.scale))


def _measured_groups(
    session: Session, groups: Iterable[attention.Group]
) -> tuple[dict[str, Measured], Rows]:
    measured: dict[str, Measured] = {}
    rows: Rows = []
    for group in groups:
        measured[group.name] = session.interleave(group.candidates)
        rows += attention.rows(group, measured[group.name], session.where, session.options.scale)
    return measured, rows


def _attention_marks(session: Session, measured: dict[str, Measured]) -> Rows:
    scale = session.options.scale
    value, reason = memory.attention_ratio(session.where, session.options.threads, scale)
    ratio = None if value is None else (value, None, None)
    return [
        *marks.judge(marks.ATTENTION, measured, scale == 1),
        marks.judge_value(marks.MEMORY, ratio, reason, scale == 1),
    ]


def _share(session: Session) -> None:
    session = replace(session, shape=share.shape(session.options.scale))
    session.report("share_marks", _shares(session))


def _shares(session: Session) -> Rows:
    candidates = share.candidates(session.shape, marks.SHARE_SCHEMES, session.where)
    return share.judge(session.interleave(candidates), session.options.scale == 1)


def _decode(session: Session) -> None:
    options, where = session.options, session.where
    arms = [name for name in options.schemes.split(",") if name] or list(decode.ARMS)
    rows: Rows = []
    samples: dict[str, Measured] = {}
    for length in options.lengths:
        for batch in options.batches:
            group = decode.Group(session.shape, where, tuple(arms), length, batch, options.new)
            samples[group.name] = session.interleave(group.candidates())
            rows += decode.rows(group, samples[group.name], options.threads)
    title = "Decoding with a cache"
    axis = f"tokens/s, relative to `{arms[0]}` (median and quartiles)"
    drawn = (figure.of_decoding(rows), title, axis)
    session.report("decode", rows, decode.COLUMNS, decode.SHOWN, samples, drawn)


def _together(session: Session) -> None:
    options, where, shape = session.options, session.where, session.shape
    names = [name for name in options.schemes.split(",") if name] or list(together.SCHEMES)
    models = options.models
    candidates = together.candidates(shape, names, models, where, options.compile)
    measured = session.interleave(candidates)
    rows = together.rows(measured, shape, models, where)
    session.report("together", rows, together.COLUMNS, together.SHOWN, {"together": measured})


def _memory(session: Session) -> None:
    tokens, threads = session.options.tokens, session.options.threads
    rows = memory.evaluation_rows(session.shape, session.schemes(), tokens, session.where, threads)
    title = f"Peak memory of evaluating one document of {tokens:,} tokens"
    axis = "memory above the built model, relative to `none`; the bar is the limit"
    drawn = (figure.of_memory(rows, MEMORY_LIMIT), title, axis)
    session.report("memory", rows, memory.COLUMNS, memory.SHOWN, drawn=drawn)


def _marks(session: Session) -> None:
    measured, _ = _attention_groups(session)
    judged = _attention_marks(session, measured)
    longer = replace(session, shape=session.shape.longer())
    plain = [peer for peer in peers.PEERS if not peer.package]
    packaged = [peer for peer in peers.PEERS if peer.package]
    longer_peers = [peer for peer in peers.PEERS if peer.name in marks.LONGER_PEERS]
    measured["train peers"] = _training(session, session.schemes(marks.PEER_SCHEMES), packaged)
    measured["train longer"] = _training(longer, longer.schemes(marks.LONGER_SCHEMES), longer_peers)
    # Only from here on: beside other libraries nobody keeps freed memory.
    process.keep_memory()
    measured["train"] = _training(session, session.schemes(marks.SCHEMES), plain)
    measured["evaluate"] = _evaluating(session, marks.GRID_SCHEMES)
    for name in ("train", "train peers", "train longer", "evaluate"):
        _report_throughput(longer if name == "train longer" else session, name, measured[name])
    of_models = (*marks.TRAINING, *marks.LONGER, *marks.EVALUATION)
    judged += marks.judge(of_models, measured, session.at_marked_shape)
    judged += _shares(replace(session, shape=share.shape(session.options.scale)))
    drawn = (figure.of_marks(judged), "Pass marks", "ratio; the bar is the pass mark")
    session.report("marks", judged, samples=measured, drawn=drawn)


KINDS = {
    "train": _train,
    "evaluate": _evaluate,
    "decode": _decode,
    "together": _together,
    "share": _share,
    "attention": _attention,
    "bias_gradient": _bias_gradient,
    "memory": _memory,
    "marks": _marks,
}

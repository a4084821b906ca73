"""Fractional lag: copies from a fixed share of the document's length back. The lag grows with the document; a distance in tokens does not.

Every length to be evaluated needs documents of exactly that length, and a window that is the whole document: these are the
validation documents, as many of each length. Training windows are whole documents too: train_length = dataset.document_length and
cross_documents=false.
"""

from dataclasses import dataclass, field

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import Settings, Synthetic, check_symbols
from lengthgen.data.sources.fractional import FractionalLag as Source


@dataclass
class Config(Settings):
    label: str = "fractional_lag"  # name in tables and figures
    train_documents: int = 4096  # documents to train on
    validation_documents: int = 48  # documents to evaluate on, of each length
    document_length: int = 512  # symbols in a training document: the train_length
    lengths: list[int] = field(
        default_factory=lambda: [256, 512, 640, 768, 1024, 1536, 2048]
    )  # symbols in the documents to evaluate on
    n_symbols: int = 32  # different symbols
    p: float = 0.9  # probability that a symbol is copied
    share: float = 0.25  # from this share of the document's length before

    def __post_init__(self):
        super().__post_init__()
        check_symbols(self.n_symbols, self.p)
        check(bool(self.lengths), "dataset.lengths=[]: expected at least one length")
        for length in (self.document_length, *self.lengths):
            lag = round(self.share * length)
            check(
                0 < lag < length,
                f"dataset.share={self.share} of {length} symbols is a lag of {lag}: expected 1 to {length - 1}",
            )


class FractionalLag(Synthetic):
    Config = Config
    whole_documents = True

    def make_source(self) -> Source:
        return Source(self.config.n_symbols, self.config.p, self.config.share)

    def lengths(self, split: str) -> list[int]:
        if split == "train":
            return super().lengths(split)
        return [
            length
            for length in sorted(set(self.config.lengths))
            for _ in range(self.config.validation_documents)
        ]

"""Fractional lag: copies from a fixed share of the document's length back.

The lag grows with the document, so a distance in tokens does not find it. Windows are whole
documents: train with train_length = dataset.document_length and cross_documents=false.
"""

from dataclasses import dataclass

from lengthgen.config.dataclass_from import check
from lengthgen.data.datasets.synthetic import CopySettings, Synthetic, WholeSettings
from lengthgen.data.sources.fractional import FractionalLag as Source


@dataclass
class Config(CopySettings, WholeSettings):
    """Both bases bring train_documents and document_length, so their defaults stand here again."""

    label: str = "fractional_lag"  # name in tables and figures
    train_documents: int = 4096  # documents to train on
    document_length: int = 512  # symbols in a training document: the train_length
    validation_documents: int = 48  # documents to evaluate on, of each length
    share: float = 0.25  # from this share of the document's length before

    def __post_init__(self):
        super().__post_init__()
        for length in (self.document_length, *self.lengths):
            lag = round(self.share * length)
            check(
                0 < lag < length,
                f"dataset.share={self.share} of {length} symbols is a lag of {lag}: "
                f"expected 1 to {length - 1}",
            )


class FractionalLag(Synthetic):
    Config = Config
    whole_documents = True

    def make_source(self) -> Source:
        return Source(self.config.n_symbols, self.config.p, self.config.share)

    def lengths(self, split: str) -> list[int]:
        if split == "train":
            return super().lengths(split)
        each = self.config.validation_documents
        return [length for length in sorted(set(self.config.lengths)) for _ in range(each)]

"""Fractional lag: copies from a fixed share of the document's length back.

The lag grows with the document, so a distance in tokens does not find it. Windows are whole
documents: train with train_length = dataset.document_length and cross_documents=false.
"""

from dataclasses import dataclass

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


class FractionalLag(Synthetic):
    Config = Config
    whole_documents = True

    def make_source(self) -> Source:
        config = self.config
        source = Source(config.n_symbols, config.p, config.share)
        for length in (config.document_length, *config.lengths):
            source.of_length(length)  # ValueError where there is none
        return source

    def lengths(self, split: str) -> list[int]:
        if split == "train":
            return super().lengths(split)
        each = self.config.validation_documents
        return [length for length in sorted(set(self.config.lengths)) for _ in range(each)]

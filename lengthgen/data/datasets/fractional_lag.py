"""Fractional lag: copies from a fixed share of the document's length back.

The lag grows with the document, so no distance in tokens finds it. Windows are whole documents.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import Copying, Synthetic, Whole, WholeSettings
from lengthgen.data.sources.fractional import FractionalLag as Source


@dataclass
class Config(Copying, WholeSettings):
    label: str = "fractional_lag"
    validation_documents: int = 48  # documents to evaluate on, of each length
    share: float = 0.25  # from this share of the document's length before


class FractionalLag(Whole, Synthetic):
    Config = Config

    def make_source(self) -> Source:
        config = self.config
        source = Source(config.n_symbols, config.p, config.share)
        document_length, lengths = config.known()
        for length in (document_length, *lengths):
            source.of_length(length)  # ValueError where there is none
        return source

    def lengths(self, split: str) -> list[int]:
        if split == "train":
            return super().lengths(split)
        each = self.config.validation_documents
        return [length for length in sorted(set(self.config.lengths)) for _ in range(each)]

"""Fractional lag: copies from a fixed share of the document's length back.

The lag grows with the document, so no distance in tokens finds it. Windows are whole documents:
train with train_length = dataset.document_length and cross_documents=false.
"""

from dataclasses import dataclass

from lengthgen.data.datasets.synthetic import Copying, Synthetic, WholeSettings
from lengthgen.data.sources.fractional import FractionalLag as Source


@dataclass
class Config(Copying, WholeSettings):
    label: str = "fractional_lag"
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

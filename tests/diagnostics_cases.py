"""Subjects of the diagnostics, made small: a stirred model of any scheme, random text, no run."""

import copy

import torch

from lengthgen import model as models
from lengthgen import retrofits, schemes
from lengthgen.diagnostics.diagnosed_model import DiagnosedModel
from lengthgen.model import ModelConfig, Transformer
from lengthgen.retrofits import base as retrofit_base
from lengthgen.schemes.base import Scheme

VOCAB = 11
L = 16  # training length
LONGEST = 40


def model_of(
    name: str,
    options: dict | None = None,
    train_length: int = L,
    stir: float = 0.3,
    loud: float = 8.0,
    **shape,
) -> Transformer:
    """The package's model around a scheme whose weights moved away from their first values, and
    whose attention is far from uniform."""
    kind = schemes.load(name)
    config = ModelConfig(**{"n_layers": 2, "n_heads": 2, "width": 32, **shape})
    model = models.build(
        config,
        kind,
        kind.Config(**(options or {})),
        train_length=train_length,
        vocab_size=VOCAB,
        seed=0,
    ).eval()
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for label, parameter in model.named_parameters():
            if label.startswith("scheme."):
                parameter += stir * torch.randn(parameter.shape, generator=generator)
            elif parameter.ndim > 1:
                parameter *= loud
    model.scheme.begin_step(1, 1)
    return model


def subject_of(
    model: Transformer,
    longest: int = LONGEST,
    documents: int = 4,
    n_read: int = 2,
    retrofit: str | None = None,
    **options,
):
    """`model` with random windows, and with a retrofit of these options put around its scheme."""
    length = model.scheme.dimensions.train_length
    generator = torch.Generator().manual_seed(2)
    windows = torch.randint(VOCAB, (documents, longest), generator=generator)
    trained = copy.deepcopy(model.scheme)
    if retrofit is not None:
        kind = retrofits.load(retrofit)
        model.scheme, _ = retrofit_base.apply(kind, kind.Config(**options), model.scheme)
        model.scheme.eval()
    lengths = [
        n
        for n in sorted({length // 2, length, length + 4, longest})
        if model.scheme.refusal(n) is None
    ]
    return DiagnosedModel(
        model=model,
        trained=trained,
        initial=_at_first(trained),
        lengths=tuple(lengths),
        windows={n: windows[:, -n:] for n in {length, lengths[-1]}},
        training=torch.randint(VOCAB, (3, length), generator=generator),
        n_read=n_read,
    )


def _at_first(scheme: Scheme) -> Scheme:
    """A copy with the weights that seed 0 gives it."""
    first = copy.deepcopy(scheme)
    first.initialise(lambda name: models.keyed_generator(0, f"scheme.{name}"))
    return first

"""A pretrained model read as lengthgen's own: tokens to hidden states to losses, under a scheme.

positions=exact: the model's weights and layers by the library transformers; its positions and its
attention by lengthgen, from the scheme that its configuration means. Angles, slopes and distances
are float32 or better whatever the model's dtype, retrofits go around the scheme as around any
other, and windows take memory in proportion to their length.
positions=as_released: all of the model's own code, with whatever it does at length: what people
run. No retrofit goes around it.

Before a model is used exactly, both readings of a short window are compared: a model that does
something that its configuration does not say is refused, not evaluated wrongly.

Shape letters: B windows, T tokens, H heads, G key and value heads, D head size, E width, V
vocabulary.
"""

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lengthgen import retrofits, schemes
from lengthgen.attention import dispatch
from lengthgen.attention.bias_forms import Bias, Span
from lengthgen.attention.continuation import Continuation
from lengthgen.config import dataclass_from
from lengthgen.errors import ConfigError
from lengthgen.model import Transformer
from lengthgen.modifiers.spans import both
from lengthgen.pretrained import attention
from lengthgen.pretrained.as_released import AsReleased
from lengthgen.pretrained.positions import Positions
from lengthgen.schemes.base import Dimensions, Scheme

CHECKED = 48  # tokens of the window on which both readings are compared
# Largest difference of logits, in units of their largest value. bf16 and fp16 keep 8 and 11 bits.
CLOSE = {torch.float32: 1e-4, torch.float64: 1e-9, torch.bfloat16: 0.05, torch.float16: 0.01}


@dataclass(frozen=True)
class Window:
    """What the scheme says of the window, or of the new tokens of a text, that is being read."""

    length: int
    positions: Tensor
    biases: list[Bias | None]
    codes: Tensor | None = None  # of new tokens; None: of a whole window, from its positions
    cache: Continuation | None = None  # which attends for new tokens
    asked: set[str] = field(default_factory=set)  # what the model has asked of its reader


class Pretrained(Transformer):
    """A model of transformers with the interface of Transformer.

    It is in evaluation mode, in a training too: what extends a model drops nothing out.
    """

    def __init__(self, model: nn.Module, scheme: Scheme, bos: int | None):
        """bos: the token that is put before every window; None: none."""
        nn.Module.__init__(self)
        self.inner, self.scheme, self.bos = model, scheme, bos
        self.kernel, self.linear = "auto", "auto"
        self.dropout = nn.Dropout(0.0)
        self.kv_heads: int | None = None  # G, once it has been read
        self.window: Window | None = None
        self.eval()

    @property
    def embedding(self) -> nn.Embedding:  # type: ignore[override]
        return self.inner.get_input_embeddings()  # type: ignore[operator]

    @property
    def _readout(self) -> Float[Tensor, "V E"]:
        raise NotImplementedError("a pretrained model reads out by its own head")

    def train(self, mode: bool = True) -> "Pretrained":
        return super().train(False)

    def use_kernel(self, name: str) -> None:
        self.kernel = name

    def use_linear(self, name: str) -> None:
        self.linear = name

    def forward(self, tokens: Int[Tensor, "B T"]) -> Float[Tensor, "B T E"]:
        """The last hidden states; of the token before the window none."""
        if self.bos is not None:
            tokens = torch.cat((tokens.new_full((len(tokens), 1), self.bos), tokens), dim=1)
        with torch.autocast(tokens.device.type, enabled=False):
            positions = self.scheme.read(tokens)
            biases = self.scheme.biases(positions)
        self.window = Window(tokens.shape[1], positions, biases)
        hidden = self._body(tokens)
        return hidden if self.bos is None else hidden[:, 1:]

    def continued(self, tokens: Int[Tensor, "B R"], cache: Continuation) -> Float[Tensor, "B R E"]:
        """The last hidden states of new tokens of texts whose keys and values `cache` keeps.

        The token that begins a text is the caller's to give. ConfigError for positions=as_released
        and for layers with a window of their own.
        """
        if isinstance(self.scheme, AsReleased):
            raise ConfigError(
                "positions=as_released: lengthgen keeps no keys of a model's own code; give "
                "positions=exact"
            )
        weight = self.embedding.weight
        zeros = weight.new_zeros(*tokens.shape, self.scheme.dimensions.width)
        with torch.autocast(tokens.device.type, enabled=False):
            codes = cache.embed(zeros, tokens)
        self.window = Window(tokens.shape[1], tokens[0], [], codes, cache)
        return self._body(tokens)

    def _body(self, tokens: Tensor) -> Tensor:
        body: Any = self.inner.base_model
        return body(input_ids=tokens, use_cache=False).last_hidden_state

    def logits(self, hidden: Float[Tensor, "*rows E"]) -> Float[Tensor, "*rows V"]:
        head: Any = self.inner.get_output_embeddings()  # type: ignore[operator]
        return head(hidden)

    def total_loss(
        self, tokens: Int[Tensor, "B T"], targets: Int[Tensor, "B T"]
    ) -> Float[Tensor, ""]:
        """The sum of `losses`, for training: logits of a slice of rows exist at a time."""
        rows = self._rows_at_once
        hidden, wanted = self(tokens).flatten(0, 1), targets.flatten()
        sums = [
            checkpoint(self._sum_of_losses, h, t, use_reentrant=False, preserve_rng_state=False)
            for h, t in zip(hidden.split(rows), wanted.split(rows), strict=True)
        ]
        return torch.stack(sums).sum()

    def _sum_of_losses(
        self, hidden: Float[Tensor, "rows E"], targets: Int[Tensor, " rows"]
    ) -> Float[Tensor, ""]:
        return F.cross_entropy(self.logits(hidden).float(), targets, reduction="sum")

    # What transformers' attention asks (attention.Reader)

    def attend(
        self,
        layer: int,
        q: Float[Tensor, "B H T D"],
        k: Float[Tensor, "B G T D"],
        v: Float[Tensor, "B G T D"],
        scale: float,
        window: int | None,
    ) -> Float[Tensor, "B H T D"]:
        """The mixture under the scheme. scale: on q k^T, as the model has it; window: of its own,
        in tokens.
        """
        assert self.window is not None
        self.window.asked.add(f"layer {layer}")
        self.kv_heads = k.shape[1]
        scheme, positions = self.scheme, self.window.positions
        ratio = scale * math.sqrt(q.shape[-1])
        if not math.isclose(ratio, 1.0, rel_tol=1e-6):
            q = q * ratio  # so that what scales scores, as retrofits do, finds the usual ones
        if self.window.cache is not None:
            if window:
                raise ConfigError(
                    f"layer {layer} has a window of its own of {window} tokens, of which no cache "
                    "is kept here"
                )
            x = q.new_empty(len(q), self.window.length, 0)
            return self.window.cache.attend(q, k, v, x, layer)
        with torch.autocast(q.device.type, enabled=False):
            q, k = scheme.rotate(q, k, positions, layer)
        groups = q.shape[1] // k.shape[1]
        if groups > 1:
            k, v = (part.repeat_interleave(groups, dim=1) for part in (k, v))
        span = both(scheme.span(layer), Span(window) if window else None)
        if scheme.general(layer):
            x = q.new_empty(len(q), self.window.length, 0)
            return dispatch.attend_general(
                q, k, v,
                lambda q, k, first: scheme.logits(q, k, x, positions, layer, first),
                lambda logits, v, first: scheme.mix(logits, v, layer, first),
                span, scheme.by_rows, [positions, *scheme.parameters()],
            )  # fmt: skip
        bias = self.window.biases[layer]
        return dispatch.attend(q, k, v, bias, scheme.score_scale, 0.0, self.kernel, span)

    def codes(self) -> Float[Tensor, "B T E"]:
        assert self.window is not None
        self.window.asked.add("codes")
        if self.window.codes is not None:
            return self.window.codes
        weight = self.embedding.weight
        zeros = weight.new_zeros(1, self.window.length, self.scheme.dimensions.width)
        return self.scheme.embed(zeros, self.window.positions)


def make_scheme(positions: Positions, dimensions: Dimensions, before_scaling: int) -> Scheme:
    """The scheme, inside the retrofit that the model was released with.

    before_scaling: L in that retrofit's formula.
    """
    if positions.released:
        dimensions = replace(dimensions, train_length=before_scaling)
    cls = schemes.load(positions.scheme, [])
    options = dataclass_from.build(cls.Config, positions.options, "scheme")
    scheme = cls(options, dimensions)
    if positions.released:
        name, given = positions.released
        around = retrofits.load(name, [])
        scheme = around(dataclass_from.build(around.Config, given, "retrofit"), scheme)
    return scheme


def exactly(model: nn.Module, scheme: Scheme, bos: int | None, name: str) -> Pretrained:
    """The model under `scheme`. ConfigError if it does not do what the scheme says.

    name: of the model, for that line. The model is changed: `model` cannot be used without it.
    """
    table = attention.table_of(model)
    if table is not None:
        rows = scheme.dimensions.train_length
        scheme.table = nn.Parameter(table[:rows].detach().clone())
    released = _check_logits(model)
    reader = Pretrained(model, scheme.eval(), None)
    scheme.to(next(model.parameters()).device)
    attention.install(model, reader)
    tokens = _check_tokens(model)
    with torch.no_grad():
        ours = reader.logits(reader(tokens)).float()
    off = float((ours - released).abs().max() / released.abs().max())
    if not off <= CLOSE[next(model.parameters()).dtype]:
        raise ConfigError(
            f"{name}: its own code and lengthgen's reading of it as {type(scheme).__name__} differ "
            f"by {off:.2g} of the largest logit within {tokens.shape[1]} tokens: it does more than "
            "its configuration says; give positions=as_released"
        )
    needed = {f"layer {layer}" for layer in range(scheme.dimensions.n_layers)}
    needed |= {"codes"} if table is not None else set()
    if reader.window is None or reader.window.asked != needed:
        raise ConfigError(
            f"{name}: its attention is not one that lengthgen can compute; give "
            "positions=as_released"
        )
    reader.bos = bos
    return reader


def as_released(model: nn.Module, scheme: AsReleased, bos: int | None, name: str) -> Pretrained:
    """The model by its own code. ConfigError if its read-out is more than a product with its head.

    name: of the model, for that line.
    """
    reader = Pretrained(model, scheme, None)
    released = _check_logits(model)
    with torch.no_grad():
        ours = reader.logits(reader(_check_tokens(model))).float()
    off = float((ours - released).abs().max() / released.abs().max())
    if not off <= CLOSE[next(model.parameters()).dtype]:
        raise ConfigError(
            f"{name}: its logits are not those of its head ({off:.2g} of the largest off): a scale "
            "or a cap comes after it, which lengthgen does not read; choose another model"
        )
    reader.bos = bos
    return reader


def _check_tokens(model: nn.Module) -> Int[Tensor, "1 T"]:
    """Tokens of all the vocabulary, evenly spaced."""
    weight: Tensor = model.get_input_embeddings().weight  # type: ignore[operator]
    step = max(1, len(weight) // CHECKED)
    return (torch.arange(CHECKED, device=weight.device) * step % len(weight))[None]


@torch.no_grad()
def _check_logits(model: nn.Module) -> Float[Tensor, "1 T V"]:
    """By the model's own code."""
    return model(input_ids=_check_tokens(model), use_cache=False).logits.float()

"""The options of the group `adapter`: what is trained of a pretrained model. No torch."""

from dataclasses import dataclass

from lengthgen.config import dataclass_from


@dataclass
class LoraConfig:
    """LoRA (Hu et al. 2021, arXiv 2106.09685): W + (alpha / rank) B A; A and B are trained."""

    rank: int = 8  # of the product B A
    alpha: float = 16.0  # B A is multiplied by alpha / rank
    # names of the linear layers that have one, as [q_proj,v_proj]; null: all but the read-out
    layers: list[str] | None = None
    # true: embeddings and norms are trained too, as LongLoRA (arXiv 2309.12307) found longer input
    # to need
    embeddings_and_norms: bool = False

    def __post_init__(self) -> None:
        dataclass_from.limit(self, "adapter", "> 0", "rank", "alpha")
        dataclass_from.check(
            self.layers is None or bool(self.layers),
            "adapter.layers=[]: expected names of linear layers, or null for all",
        )

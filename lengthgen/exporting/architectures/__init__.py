"""Classes of `transformers` that compute what some of lengthgen's models do, and the choice."""

from lengthgen.exporting.architectures.base import Architecture
from lengthgen.exporting.architectures.gpt2 import GPT2
from lengthgen.exporting.architectures.llama import (
    Arcee,
    Llama,
    Mistral,
    Qwen3,
    SmolLM3,
    StableLm,
    Starcoder2,
)
from lengthgen.exporting.architectures.mpt import MPT
from lengthgen.exporting.architectures.neox import GPTNeoX, Persimmon
from lengthgen.exporting.traits import NoClassError, Traits

# The first that can express a model is taken: the most widely supported ones come first.
ALL: tuple[Architecture, ...] = (
    Llama(), Mistral(), Qwen3(), GPT2(), GPTNeoX(), MPT(), Starcoder2(), StableLm(), Persimmon(),
    SmolLM3(), Arcee(),
)  # fmt: skip


def choose(traits: Traits) -> Architecture:
    """The class for a model. NoClassError names what stands in the way of the nearest one."""
    obstacles = [(one.obstacles(traits), one) for one in ALL]
    for found, architecture in obstacles:
        if not found:
            return architecture
    usable = [pair for pair in obstacles if isinstance(traits.positions, pair[1].positions)]
    found, nearest = min(usable, key=lambda pair: len(pair[0]))
    raise NoClassError(
        f"{traits.label}: no class of transformers computes this model; the nearest, "
        f"{nearest.name}, does not have {', '.join(found)}; --own-code exports it with "
        "lengthgen's code"
    )

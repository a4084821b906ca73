"""lengthgen's own Transformer as a model of `transformers`, for schemes that no class there has.

A folder that is exported with --own-code holds a short file that imports these classes. With
trust_remote_code=True AutoModelForCausalLM runs that file; without it, and without any code of the
folder, LengthgenForCausalLM.from_pretrained(FOLDER) loads the same model.

There is no cache of keys and values: generation computes the whole input for every token.
Shape letters: B sequences, T positions, V vocabulary.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import GenerationMixin, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from lengthgen import model as models
from lengthgen import schemes
from lengthgen.config import dataclass_from
from lengthgen.model import ModelConfig
from lengthgen.modifiers.base import modified
from lengthgen.runs import train_config

FILE = "modeling_lengthgen.py"
# Classes of the file's own: transformers marks those that it loads from a folder.
CODE = '''"""lengthgen's Transformer, with its positional scheme. Needs the package lengthgen."""

from lengthgen.exporting import own_code


class LengthgenConfig(own_code.LengthgenConfig):
    pass


class LengthgenForCausalLM(own_code.LengthgenForCausalLM):
    config_class = LengthgenConfig
'''
AUTO_MAP = {
    "AutoConfig": "modeling_lengthgen.LengthgenConfig",
    "AutoModelForCausalLM": "modeling_lengthgen.LengthgenForCausalLM",
}


class LengthgenConfig(PretrainedConfig):
    model_type = "lengthgen"

    def __init__(self, lengthgen: dict[str, Any] | None = None, **options: Any):
        # model, scheme, modifiers, train_length, vocab_size, seed, steps: as in a run's config.yaml
        self.lengthgen = lengthgen or {}
        model = self.lengthgen.get("model", {})
        self.vocab_size = self.lengthgen.get("vocab_size", 0)
        self.hidden_size = model.get("width", 0)
        self.num_hidden_layers = model.get("n_layers", 0)
        self.num_attention_heads = model.get("n_heads", 0)
        self.max_position_embeddings = self.lengthgen.get("train_length", 0)
        super().__init__(**options)


class LengthgenForCausalLM(PreTrainedModel, GenerationMixin):
    """Logits of every position; a cache is never used."""

    config_class = LengthgenConfig
    base_model_prefix = "transformer"

    def __init__(self, config: LengthgenConfig):
        super().__init__(config)
        # transformers loads inside a context without storage; a scheme needs its numbers.
        with torch.device("cpu"):
            self.transformer = transformer(config.lengthgen)
        self.post_init()

    def _init_weights(self, module: torch.nn.Module) -> None:
        """The weights are there, of the run's seed or of the checkpoint."""

    def get_input_embeddings(self) -> torch.nn.Module:
        return self.transformer.embedding

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        **unused: Any,
    ) -> CausalLMOutput:
        """input_ids (B, T) -> logits (B, T, V). labels: shifted here; -100 is not scored.

        ValueError for a padded beginning: positions would be others.
        """
        if attention_mask is not None and not bool(attention_mask[:, 0].all()):
            raise ValueError("lengthgen's positions begin with the text: pad on the right")
        logits = self.transformer.logits(self.transformer(input_ids)).float()
        loss = None
        if labels is not None:
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, *unused: Any, **unused_too: Any
    ) -> dict[str, Any]:
        return {"input_ids": input_ids}


def transformer(facts: dict[str, Any]) -> models.Transformer:
    """The untrained model that the configuration describes."""
    length, steps = facts["train_length"], facts["steps"]
    choice = train_config.choose(schemes, "scheme", facts["scheme"], ()).at(length)
    around = [(c.cls, c.options) for c in train_config.choose_modifiers(facts["modifiers"], ())]
    model = models.build(
        dataclass_from.build(ModelConfig, facts["model"], "model"),
        lambda options, dimensions: modified(choice.cls(options, dimensions), around),
        choice.options,
        train_length=length,
        vocab_size=facts["vocab_size"],
        seed=facts["seed"],
    )
    model.scheme.begin_step(steps, steps)
    return model.eval()

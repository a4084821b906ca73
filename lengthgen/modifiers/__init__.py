"""Modifiers: changes to any scheme that are trained with it. One file each, found by its name.

They are applied innermost first, by `stage` and then by name, in whatever order they were given:

| stage | modifiers | why there |
|---|---|---|
| 0 | drope | removes the scheme's positions, whatever is around it |
| 1 | layer_mix | decides for each layer whether the scheme acts there |
| 2 | window | hides keys in the layers that are left |
| 3 | log_n, ssmax | scale scores by the number of keys that are then visible |

Normalised queries and keys are an option of the model: model.qk_norm=true.

A user's modifier is a file `NAME.py` beside its `NAME.yaml`, in the folder `modifier/` of a
`--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "modifier", Path(__file__).parent
SHARED = ("scaling", "spans")  # files of this folder that are not modifiers
KIND = Kind(NOUN, __name__, HERE, "Modifier", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load

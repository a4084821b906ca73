"""Modifiers, one file each: changes that combine with any scheme, in training. One is found by its file's name.

The order of application is fixed, whatever the order in which they were asked for: innermost first, by `stage` and then by name.

| stage | modifiers | why there |
|---|---|---|
| 0 | drope | takes the scheme's positions away, whatever is around it |
| 1 | layer_mix | decides for each layer whether the scheme acts there |
| 2 | window | hides keys in the layers that are left |
| 3 | log_n, ssmax | scale the scores by the number of keys that are then visible |

Normalised queries and keys, the one such change that no position enters, is the model's own: model.qk_norm=true.
One of the user's own is a file `NAME.py` beside its `NAME.yaml`, in the folder `modifier/` of a `--config-dir`.
"""

from pathlib import Path

from lengthgen.config.plugins import Kind

NOUN, HERE = "modifier", Path(__file__).parent
SHARED = ("scaling", "spans")  # files of this folder that are no modifier themselves
KIND = Kind(NOUN, __name__, HERE, "Modifier", SHARED)

names, source, load = KIND.names, KIND.source, KIND.load

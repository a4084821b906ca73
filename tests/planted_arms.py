"""Bugs in what keeps arms of a comparison alike: scales, options that follow the length, ids."""

from .planted_bug import Bug

SCHEMES, SCALING = "lengthgen/schemes", "lengthgen/modifiers/scaling.py"
CONFIG, FORMULAS = "tests/test_config.py", "tests/test_formulas.py"

ARMS = [
    Bug(
        "a table without its scale",
        f"{SCHEMES}/per_offset.py",
        "table = table * self.dimensions.head_dim**0.5",
        "table = table * 1.0",
        FORMULAS,
        "per_offset_equals",
    ),
    Bug(
        "a table without its scale",
        f"{SCHEMES}/cpb.py",
        "self._layer(self.config.depth, n)).T * self._factor",
        "self._layer(self.config.depth, n)).T",
        "tests/test_oracles_classic.py",
        "cpb_equals_its_loop",
    ),
    Bug(
        "buckets not of the training length",
        f"{SCHEMES}/t5_bias.py",
        "self.max_distance or max(train_length // 4, buckets)",
        "self.max_distance or 128",
        CONFIG,
        "buckets_follow",
    ),
    Bug(
        "inner buckets not of its length",
        f"{SCHEMES}/randomised.py",
        '{"inner_options": inner_options(self, M)}',
        '{"inner_options": inner_options(self, train_length)}',
        CONFIG,
        "inner_scheme",
    ),
    Bug(
        "a label of what no user changed",
        "lengthgen/config/by_length.py",
        "if at(without, train_length)[option.name] == value:",
        "if value is None:",
        CONFIG,
        "buckets_follow",
    ),
    Bug(
        "a new option in the id of older runs",
        "lengthgen/runs/identity.py",
        "if name not in before or value != before[name]",
        "if name is not None",
        CONFIG,
        "older_than",
    ),
    Bug(
        "an older run read with a newer default",
        "lengthgen/runs/train_config.py",
        '"scheme": {**before, **options}',
        '"scheme": {**options}',
        CONFIG,
        "older_than",
    ),
    Bug(
        "log-n on the wrong part of the score",
        SCALING,
        'return self.config.scales != "scores"',
        'return self.config.scales == "bias"',
        "tests/test_modifiers.py",
        "log_n_scales_what",
    ),
    Bug(
        "log-n on the wrong part of the score",
        SCALING,
        'if self.general(layer) or self.config.scales == "bias":',
        "if self.general(layer):",
        "tests/test_modifiers.py",
        "log_n_scales_what",
    ),
    Bug(
        "a whole turn for half a one",
        f"{SCHEMES}/normalised_sinusoid.py",
        "angle = 2 * math.pi * self.config.turns * positions",
        "angle = 2 * math.pi * positions",
        FORMULAS,
        "normalised_sinusoid_by",
    ),
]

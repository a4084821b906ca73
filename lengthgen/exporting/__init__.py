"""A finished run for other programs: a model folder of `transformers`, results of lm-eval."""

"""lengthgen's protocols and lm-evaluation-harness's rolling windows on the same model and text."""

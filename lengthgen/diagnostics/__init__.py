"""Mechanism diagnostics: why a trained model fails past its training length, or holds.

| file | question |
|---|---|
| exposure | how often does training reach each positional parameter, and how far did each move? |
| bias_curve | what is the bias by distance, and how much attention does it alone leave far keys? |
| attention_spread | over how many keys does attention spread, by query position? |
| receptive_field | how far back does the text matter to the last hidden state? |
| phase_coverage | which rotary pairs never complete a turn in training? |
| probes | can the position be read from the hidden states, also past the training length? |

Each has `measure(subject) -> Finding`: tables and sentences, or the reason why it does not apply.
None changes a number of an evaluation.
"""

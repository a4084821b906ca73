"""Mechanism diagnostics: why a trained model fails past its training length, or holds. One a file; none changes a number of an evaluation.

| file | question |
|---|---|
| exposure | how often does training reach each positional parameter, and how far did each move? |
| bias_curve | what has the bias become by distance, and how much attention would it alone leave to far keys? |
| attention_spread | over how many keys does attention spread, by query position? |
| receptive_field | how far back does the text matter to the last hidden state? |
| phase_coverage | which rotary pairs never complete a turn in training? |
| probes | can the position be read from the hidden states, and does the reading hold past the training length? |

Each has `measure(subject) -> Finding`: tables, and sentences that read them. What does not apply is a Finding with a reason, no error.
subject.py says what is measured, findings.py what comes out, writing.py makes the folder of it. Knows no Hydra and no run.
"""

"""`lengthgen bench`: how fast, how large, and beside whom. No part of a run.

| file | idea |
|---|---|
| command.py | the arguments |
| kinds.py | what each kind of benchmark measures and reports |
| workload.py | the shape of a model, random tokens for it, where it runs |
| flops.py | model FLOPs by formula, and the machine's matmul ceiling |
| measuring.py | candidates called in turn, each once a round; paired ratios with quartiles |
| throughput.py | tokens/s of training and of evaluation |
| share.py | the share of a run that its evaluation takes |
| peers.py | models of other libraries, and a plain GPT, of the same shape |
| attention.py | the attention call alone, and the batches |
| bias_gradient.py | on a GPU: what the gradient of a bias costs |
| memory.py, child.py | peak memory, each case in a process of its own |
| marks.py | the pass marks, and what was measured against them |
| intervals.py | whether confidence intervals and tests keep their promise, by simulation |
| environment.py | what else could explain a number: versions, threads, load, settings |
| report.py, figure.py | tables and figures |
"""

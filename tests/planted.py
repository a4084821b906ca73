"""Bugs that `scripts/plant_bugs` plants, one at a time, to see whether the tests find them.

A list is data: add a `Bug` to it, or a list to LISTS. A bug is a text that occurs once in one file,
its replacement, and the tests that must fail: named, so that a run takes seconds and it is known
what guards against what. One kind of bug may be planted in several places.
"""

from .planted_arms import ARMS
from .planted_bug import Bug
from .planted_evaluation import EVALUATIONS
from .planted_studies import OF_STUDIES
from .planted_tasks import TASKS

SCHEMES = "lengthgen/schemes"
FORMULAS, REFERENCES = "tests/test_formulas.py", "tests/test_references.py"
MODEL, PRECISION, CONTRACT = (
    "tests/test_contract_model.py",
    "tests/test_precision.py",
    "tests/test_schemes.py",
)

POSITIONS = [
    Bug(
        "slope order reversed",
        f"{SCHEMES}/alibi.py",
        "first = torch.arange(1, power + 1, device=device, dtype=torch.float64) / power",
        "first = torch.arange(power, 0, -1, device=device, dtype=torch.float64) / power",
        FORMULAS,
        "alibi",
    ),
    Bug(
        "distance off by one",
        f"{SCHEMES}/base.py",
        "offsets = torch.arange(positions.numel(), device=positions.device)",
        "offsets = 1 + torch.arange(positions.numel(), device=positions.device)",
        MODEL,
        "biases and kerple_log",
    ),
    Bug(
        "distance off by one",
        "lengthgen/attention/kernels/offsets.py",
        "values = vector.detach().to(torch.promote_types(vector.dtype, torch.float32))",
        "values = vector.detach().to(torch.promote_types(vector.dtype, torch.float32)).roll(1, -1)",
        PRECISION,
        "four_times and kerple_log",
    ),
    Bug(
        "bucket log base",
        f"{SCHEMES}/t5_bias.py",
        "/ math.log(max_distance / exact)",
        "/ math.log2(max_distance / exact)",
        REFERENCES,
        "t5_bucket",
    ),
    Bug(
        "clamp at L instead of L - 1",
        f"{SCHEMES}/learned.py",
        "positions = positions.clamp(max=rows - 1)",
        "positions = positions.clamp(max=rows)",
        FORMULAS,
        "learned",
    ),
    Bug(
        "clamp at L instead of L - 1",
        f"{SCHEMES}/per_offset.py",
        "return torch.where(offsets >= self.size, self._beyond(table, offsets), inside)",
        "return torch.where(offsets > self.size, self._beyond(table, offsets), inside)",
        FORMULAS,
        "per_offset",
    ),
    Bug(
        "RoPE pairs of mixed layouts",
        "lengthgen/schemes/rotary.py",
        "a, b = x.chunk(2, dim=-1)",
        "a, b = x[..., 0::2], x[..., 1::2]",
        REFERENCES,
        "rope",
    ),
    Bug(
        "position starts at 1",
        f"{SCHEMES}/base.py",
        "return torch.arange(length, device=device)",
        "return torch.arange(1, length + 1, device=device)",
        FORMULAS,
        "sinusoid_by",
    ),
    Bug(
        "mask before bias",  # the future's entries of the bias are masked, its scores are not
        "lengthgen/attention/kernels/sdpa.py",
        "mask = hide(bias, 0, length, span).to(q.dtype)",
        "mask = hide(bias, 0, length, span).nan_to_num(neginf=0.0).to(q.dtype)",
        "tests/test_attention.py",
    ),
    Bug(
        "mask before bias",
        "lengthgen/attention/kernels/rows.py",
        "return hide(wide(block), first, last, None)",
        "return hide(wide(block), first, last, None).nan_to_num(neginf=0.0)",
        "tests/test_attention.py",
    ),
    Bug(
        "bias not per head",
        f"{SCHEMES}/base.py",
        "return Toeplitz(self._checked_vector(offsets, layer))",
        "return Toeplitz(self._checked_vector(offsets,"
        " layer)[:1].expand(self.dimensions.n_heads, -1))",
        MODEL,
        "biases and alibi",
    ),
    Bug(
        "target not shifted",
        "lengthgen/data/batches.py",
        "(starts).to(windows.device)))\n    return tokens[:, :-1].contiguous(),"
        " tokens[:, 1:].contiguous()",
        "(starts).to(windows.device)))\n    return tokens[:, :-1].contiguous(),"
        " tokens[:, :-1].contiguous()",
        "tests/test_batches.py",
    ),
    Bug(
        "target not shifted",
        "lengthgen/evaluation/scoring.py",
        "losses = model.losses(tokens[:, :-1], tokens[:, 1:], first)",
        "losses = model.losses(tokens[:, :-1], tokens[:, :-1], first)",
        "tests/test_evaluation.py",
        "one_pass and alibi",
    ),
    Bug(
        "perplexity averaged",  # over documents
        "lengthgen/evaluation/writing.py",
        '"perplexity": tuple(np.exp(ends))',
        '"perplexity": (float(np.exp(s.usable.loss_sum / s.n_tokens).mean()), *np.exp(ends[1:]))',
        "tests/test_evaluation.py",
        "rows_equal",
    ),
    Bug(
        "evaluation with dropout",
        "lengthgen/evaluation/scoring.py",
        "    model.eval()\n",
        "    model.train()\n",
        MODEL,
        "dropout",
    ),
    Bug(
        "last batch dropped",
        "lengthgen/evaluation/scoring.py",
        "        while items:\n",
        "        while len(items) >= batch:\n",
        "tests/test_evaluation.py",
        "one_pass and alibi",
    ),
    Bug(
        "attention over document boundaries",
        "lengthgen/data/batches.py",
        "starts = picks if cross_documents else _inside_documents(store, length, picks)",
        "starts = picks",
        "tests/test_batches.py",
    ),
    Bug(
        "attention over document boundaries",
        "lengthgen/evaluation/protocols.py",
        "first = longest + _hash(name) % (room",
        "first = longest - 8 + _hash(name) % (room",
        "tests/test_evaluation.py",
        "matched_targets",
    ),
    Bug(
        "bfloat16 positions",
        "lengthgen/schemes/rotary.py",
        "return positions.double()[:, None] * frequencies",
        "return positions.bfloat16().double()[:, None] * frequencies",
        REFERENCES,
        "rope",
    ),
    Bug(
        "bfloat16 positions",
        "lengthgen/model/transformer.py",
        "        with torch.autocast(tokens.device.type, enabled=False):\n           "
        " positions = self.scheme.read(tokens)",
        "        with torch.autocast(tokens.device.type, torch.bfloat16):\n           "
        " positions = self.scheme.read(tokens).bfloat16()",
        PRECISION,
        "autocast and sinusoidal",
    ),
    Bug(
        "bfloat16 positions",
        f"{SCHEMES}/fope.py",
        "with torch.autocast(x.device.type, enabled=False):",
        "with torch.autocast(x.device.type, enabled=torch.is_autocast_enabled(x.device.type)):",
        PRECISION,
        "autocast and fope",
    ),
    Bug(
        "cache not reset",
        "lengthgen/retrofits/dynamic_ntk.py",
        "longer = max(1.0, length / self.dimensions.train_length)",
        'longer = self.longest = max(getattr(self, "longest", 1.0), length /'
        " self.dimensions.train_length)",
        "tests/test_retrofits.py",
        "order and dynamic",
    ),
    Bug(
        "cache not reset",
        f"{SCHEMES}/normalised_sinusoid.py",
        "return (torch.arange(length, device=device, dtype=torch.float64) / length).float()",
        'self.most = max(getattr(self, "most", 0), length)\n'
        "        return (torch.arange(length, device=device, dtype=torch.float64) /"
        " self.most).float()",
        MODEL,
        "order and normalised",
    ),
    Bug(
        "code depends on the window's length",
        f"{SCHEMES}/fire.py",
        "reach = torch.maximum(i, (self.multiplier[n] * self.threshold).abs())",
        "reach = torch.maximum(j.max().expand(len(i)), (self.multiplier[n] *"
        " self.threshold).abs())",
        CONTRACT,
        "prefix and fire",
    ),
    Bug(
        "learned rows wrap modulo L",
        f"{SCHEMES}/learned.py",
        'elif self.config.tail == "wrap":',
        "else:",
        FORMULAS,
        "learned",
    ),
    Bug(
        "NTK exponent d / d instead of d / (d - 2)",
        "lengthgen/schemes/rotary.py",
        "self.base * factor ** (self.channels / (self.channels - 2))",
        "self.base * factor ** (self.channels / self.channels)",
        "tests/test_rotary.py",
        "ntk",
    ),
    Bug(
        "wrong head_dim",
        f"{SCHEMES}/base.py",
        "return self.dimensions.head_dim**-0.5",
        "return self.dimensions.width**-0.5",
        FORMULAS,
        "no_positions",
    ),
    Bug(
        "table gathered by key - query",
        f"{SCHEMES}/per_offset.py",
        "inside = table.index_select(1, offsets.clamp(max=self.size - 1))",
        "inside = table.index_select(1, (-offsets).clamp(0, self.size - 1))",
        FORMULAS,
        "per_offset",
    ),
    Bug(
        "table gathered by key - query",
        "lengthgen/attention/kernels/offsets.py",
        "padded = torch.cat([vector.flip(1), vector.new_full",
        "padded = torch.cat([vector, vector.new_full",
        "tests/test_attention.py",
    ),
]

LISTS = {
    "positions": POSITIONS,
    "evaluation": EVALUATIONS,
    "tasks": TASKS,
    "arms": ARMS,
    "studies": OF_STUDIES,
}

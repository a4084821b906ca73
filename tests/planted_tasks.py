"""Bugs of algorithmic tasks: wrong answers, answers that are not asked for, prompts that are. See planted.py."""

from .planted_bug import Bug

SOURCES, EVALUATION, TESTS = "lengthgen/data/sources", "lengthgen/evaluation", "tests/test_tasks.py"

TASKS = [
    Bug(
        "answers shifted by one in scoring",
        f"{EVALUATION}/exact_match.py",
        "splits.validation.document(window.document)[1:].numpy()) for window",
        "splits.validation.document(window.document)[:-1].numpy()) for window",
        TESTS,
        "right_matches",
    ),
    Bug(
        "one hit is enough",
        f"{EVALUATION}/exact_match.py",
        "(hits | ~answers).all(axis=-1)",
        "(hits & answers).any(axis=-1)",
        TESTS,
        "one_wrong",
    ),
    Bug("prompts count", f"{EVALUATION}/exact_match.py", "(hits | ~answers).all(axis=-1)", "hits.all(axis=-1)", TESTS, "right_matches"),
    Bug(
        "the end does not count",
        f"{SOURCES}/tasks.py",
        "behind = np.cumsum(marks, axis=-1) - marks",
        "behind = np.cumsum(marks, axis=-1)",
        TESTS,
        "which_symbols",
    ),
    Bug("keys are asked for", f"{SOURCES}/mqar.py", "(symbols >= self.n_keys)", "(symbols >= 0)", TESTS, "which_symbols and mqar"),
    Bug(
        "trained on prompts",
        "lengthgen/runs/fit.py",
        "targets = batches.only_answers(targets, run.splits.answers)",
        "targets = targets.clone()",
        TESTS,
        "answers_alone",
    ),
    Bug(
        "mean over all targets",
        "lengthgen/training/loop.py",
        "total, count = 0.0, n_scored(targets)",
        "total, count = 0.0, targets.numel()",
        TESTS,
        "mean_over_answers",
    ),
    Bug(
        "carry lost",
        f"{SOURCES}/arithmetic.py",
        "divmod(pair + carry, base)",
        "divmod(pair, base)",
        TESTS,
        "answers_are_right and addition",
    ),
    Bug(
        "permutations composed backwards",
        f"{SOURCES}/groups.py",
        "self.table[element][state]",
        "self.table[state][element]",
        TESTS,
        "answers_are_right and s5",
    ),
    Bug(
        "the largest size never drawn",
        f"{SOURCES}/tasks.py",
        "sizes.append(1 + int(draws.integers(largest, 1)[0]))",
        "sizes.append(1 + int(draws.integers(max(1, largest - 1), 1)[0]))",
        TESTS,
        "answers_are_right and copy",
    ),
    Bug(
        "largest size off by one", f"{SOURCES}/tasks.py", "1 + (room - least) //", "(room - least) //", TESTS, "answers_are_right and copy"
    ),
    Bug("a bound of Wilson's", f"{EVALUATION}/exact_match.py", "n_right + z * z / 2", "n_right + z / 2", TESTS, "wilson"),
    Bug(
        "least likely token taken",
        "lengthgen/model.py",
        "hits.append(logits.argmax(-1) == t)",
        "hits.append(logits.argmin(-1) == t)",
        TESTS,
        "real_models_hits",
    ),
    Bug(
        "guesses by the rarest answer",
        f"{EVALUATION}/exact_match.py",
        "np.lexsort((-after, counts))",
        "np.lexsort((-after, -counts))",
        TESTS,
        "commonest_answer",
    ),
    Bug(
        "train and validation drawn alike",
        "lengthgen/data/datasets/tasks.py",
        "Draws(config.seed, split, length, number)",
        'Draws(config.seed, "all", length, number)',
        TESTS,
        "pinned",
    ),
]

"""How a pretrained model can be read, and in which numbers."""

HOW = ("exact", "as_released")  # by lengthgen, from its configuration; by its own code
DTYPES = ("float32", "bfloat16", "float16")  # names of torch's

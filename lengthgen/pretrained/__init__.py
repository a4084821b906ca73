"""Models that others trained: where they are, what they may hold, and how lengthgen reads them.

The only room beside data/ that knows the library transformers, which an extra brings:
pip install "lengthgen[pretrained]".
"""

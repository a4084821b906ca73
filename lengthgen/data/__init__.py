"""Text and symbols, to tokens, to the windows that training and evaluation read."""

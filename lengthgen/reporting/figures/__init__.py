"""The figures, one kind a file, and what they share: look, colours, layout, names, axes, files."""

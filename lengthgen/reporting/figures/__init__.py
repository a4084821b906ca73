"""The figures, one kind a file, and what they share: colours, layout, the axis of lengths."""

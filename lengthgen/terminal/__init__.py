"""What a person sees of work that goes on: progress, and messages in whole lines beside it."""

"""The parts of scripts/gpu_run; facts, ceilings, compare and stop_and_resume are its commands."""

"""Commands that measure: records of runs, speed comparisons. Results are committed under experiments/results/."""

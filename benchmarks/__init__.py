"""Scripts that print ratios measured within one run; RESULTS.md holds the last ones."""

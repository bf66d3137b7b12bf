"""Model and batch to named loss terms: which output meets which column."""

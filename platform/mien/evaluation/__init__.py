"""How good a model is: statistics of arrays, each with the interval that the number of clips allows."""

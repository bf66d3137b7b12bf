"""Figures and the numbers behind them: each a pure function of arrays; nothing here reads a dataset or knows Ray."""

"""Figures and the numbers behind them: each a pure function of arrays; nothing here knows Ray."""

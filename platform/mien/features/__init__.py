"""Pixels to vectors by a frozen network; nothing learns here."""

"""The passage bundle: what one passage left behind, written as it happens and read back to the letter."""

"""What is kept for how long, and the proof that the rest is gone."""

"""From an outcome to a case that stands: plates, notes, the sealed pack, the queue, and what a haulier is told."""

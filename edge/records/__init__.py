"""The record as a product: what works, what is missed, what it costs; and what a court is given."""

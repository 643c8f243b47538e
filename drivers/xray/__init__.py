"""X-ray: a receiver of what others scanned. Nothing in this package sends anything to a scanner but its answers."""

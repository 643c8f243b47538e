"""How good a verdict is, from passages whose outcome is known: pure figures, their intervals, plots and a page."""

"""Practice: passages whose outcome is known, shown as on the lane, scored, and kept out of the record.

Nothing of the lane imports this folder (an import contract holds it): a threat is projected here and nowhere else.
"""

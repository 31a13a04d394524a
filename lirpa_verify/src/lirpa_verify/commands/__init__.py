"""The sub-commands that this package adds to `lirpa`; the entry-point group `lirpa.commands` names them."""

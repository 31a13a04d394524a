"""Commands that the kit adds to `lirpa`, by the entry-point group `lirpa.commands`."""

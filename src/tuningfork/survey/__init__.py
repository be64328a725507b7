"""From the sky to the store: the only room that knows what astronomical services say and how they fail."""

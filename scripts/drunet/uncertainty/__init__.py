"""How far numbers can be trusted."""

"""Between the words of the wire and the words of core: the one room that knows both, by subject. Pure."""

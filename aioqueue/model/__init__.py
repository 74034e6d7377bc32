"""The nouns that both the jobs' core and the conversation speak: ids, states, options, views. Pure data."""

"""`aioqueue demo`: photographs, resized by workers in other processes through a real broker, a port and a journal file.

What a person sees is in `view` and `report`, what is done in `jobs`, and `run` puts them together. The same program as
a user would write it is `examples/photos`.
"""

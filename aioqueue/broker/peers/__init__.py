"""One connection at the broker: each message to what it asks for, each reply to the message that answers.

`peer` is what a connection is, and the other files are what can be asked over it, by chapter of the protocol. Each ends
with its `ROWS`: a message, the right that it needs, and who handles it; `dispatch` has the table of all.

A peer decides nothing. What it posts is answered through the engine, so that no answer promises what is not durable;
only Pong and the parts of a backup pass by.
"""

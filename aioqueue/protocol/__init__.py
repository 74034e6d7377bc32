"""The conversation on the wire: frames, messages, and who may say what when. Pure: no sockets, no clock."""

"""The speed of the engine compared with PyTorch's: the same work, done in turns by processes of their own."""

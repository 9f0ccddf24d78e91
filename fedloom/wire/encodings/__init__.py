"""Encodings that lose more than rounding does, a file and a paper each; `fedloom.wire.encoding` calls them by name."""

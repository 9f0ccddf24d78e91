"""Rounds that carry an app's messages instead of a model: asked for by the app, one after the other."""

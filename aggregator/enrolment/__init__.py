"""Lets devices in, renews what they hold, and shuts them out: the registrar's part."""

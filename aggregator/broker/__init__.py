"""Configures brokers: access lists, certificates, limits."""

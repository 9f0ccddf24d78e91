"""fedloom: federated edge learning over MQTT, light, end-to-end encrypted and crash-proof.

This package is what both ends must agree on, and nothing else: the learning core, the wire, trust and links.
"""

__version__ = "0.1.0"

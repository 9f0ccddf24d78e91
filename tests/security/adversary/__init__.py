"""A broker that lies: an MQTT-aware proxy between real clients and a real broker, the scripts that it follows, and the
invariants that must hold whatever it does."""

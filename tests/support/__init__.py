"""What tests stand on: real registries, one that misbehaves, specs made by rule."""

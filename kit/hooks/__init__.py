"""The contract with plugins: hook specifications, specs, how plugins are loaded and found by name."""

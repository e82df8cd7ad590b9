"""The contract with plugins: hooks, the specs they return, and how plugins are loaded and looked up by name."""

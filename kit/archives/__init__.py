"""Archives as they arrive: opened, checked, unpacked."""

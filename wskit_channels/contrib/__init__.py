"""Optional adapters, each behind an extra of its own."""

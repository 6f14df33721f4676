"""Machine settings that make CPU work faster; applied on request, never on import."""

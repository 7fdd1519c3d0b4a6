"""A contract with everything in it that code generation has to understand."""

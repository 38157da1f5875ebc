"""YAML -> `Profile`: strict, versioned, `extends:`, every error with its file and line."""

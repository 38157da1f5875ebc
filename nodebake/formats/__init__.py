"""One module per output: how a node's files become what a machine boots from."""

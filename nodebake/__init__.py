"""Bake a cluster into its nodes: one YAML profile in, one bootable artefact per node out."""

VERSION = "0.1.0"
